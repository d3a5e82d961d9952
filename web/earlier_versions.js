// Workflows hold the values of widgets by their position: where a widget of an earlier version was taken out, and
// another one has its place now, the old value is no choice of the new one.

import { app } from '../../scripts/app.js'

const DEFAULTS = { MILD_BuiltInModel: { quality: 'normal' } } // `same_part`, a number, stood in its place

app.registerExtension({
  name: 'MILD.EarlierVersions',
  loadedGraphNode(node) {
    for (const [name, value] of Object.entries(DEFAULTS[node.type] ?? {})) {
      const widget = node.widgets?.find((one) => one.name === name)
      if (widget && typeof widget.value !== 'string') widget.value = value
    }
  }
})
