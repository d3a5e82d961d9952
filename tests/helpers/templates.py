"""Shipped workflows as API-format graphs, ready for a machine without any checkpoint."""


def nodes_of(graph: dict, kind: str) -> list[str]:
    """Keys of the nodes of that class."""
    return [key for key, node in graph.items() if node["class_type"] == kind]


def without_detector(graph: dict) -> dict:
    """The graph with the example photo's masks where SAM 3, whose checkpoint no test machine has, would find people."""
    detectors = nodes_of(graph, "SAM3_Detect")
    if not detectors:
        return graph
    (example,) = nodes_of(graph, "MILD_ExamplePhoto")
    gone = {*detectors, *nodes_of(graph, "CheckpointLoaderSimple"), *nodes_of(graph, "CLIPTextEncode")}
    left = {key: node for key, node in graph.items() if key not in gone}
    for node in left.values():
        for name, value in list(node["inputs"].items()):
            if isinstance(value, list) and value[0] in detectors:
                if value[1] == 0:
                    node["inputs"][name] = [example, 1]
                else:  # the boxes that belong to SAM's masks
                    del node["inputs"][name]
    return left


def wanting_models(workflow: dict) -> set[str]:
    """Nodes, as 'id: type', that name model files which ComfyUI offers to download: red until the artist has them."""
    return {f"{node['id']}: {node['type']}" for node in workflow["nodes"] if node.get("properties", {}).get("models")}
