"""A node for the test server alone: it gives each person a shadow at their feet and something in their hand."""

NODE = "TEST_GiveEffects"


def make_node():
    """The node's class, in the server's process."""
    import torch
    from comfy_api.latest import io

    from mild.mild_core.scene import CARRIED, SHADOW, Effect

    def rectangle(kind: str, x0: float, y0: float, x1: float, y1: float, size: tuple[int, int]) -> Effect:
        box = (max(0, int(x0)), max(0, int(y0)), min(size[1], int(x1)), min(size[0], int(y1)))
        return Effect(kind, box, torch.ones(box[3] - box[1], box[2] - box[0]))

    class GiveEffects(io.ComfyNode):
        @classmethod
        def define_schema(cls) -> io.Schema:
            people = io.Custom("MILD_PEOPLE")
            return io.Schema(
                node_id=NODE, category="test", inputs=[people.Input("people")], outputs=[people.Output("people")]
            )

        @classmethod
        def execute(cls, people: list) -> io.NodeOutput:
            given = []
            for person in people:
                x0, y0, x1, y1 = person.box
                wide, high = x1 - x0, y1 - y0
                shadow = rectangle(SHADOW, x0 - wide / 4, y1, x1 + wide, y1 + high / 6, person.size)
                thing = rectangle(CARRIED, x1, y0 + high / 2, x1 + wide / 3, y0 + high * 0.7, person.size)
                given.append(person._replace(effects=(shadow, thing)))
            return io.NodeOutput(given)

    return GiveEffects
