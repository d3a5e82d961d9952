// Shows the warning of a node that ran without an error and did nothing: on its own it would look like a success.

import { api } from '../../scripts/api.js'
import { app } from '../../scripts/app.js'

const LIFE = 12000 // ms
const warnings = new Map() // node id -> warning of its last run: ComfyUI does not tell it again while it is cached
let warned // prompt_id of the run that a warning was shown for: what is missing first is missing for all nodes after it

function show(warning, run) {
  if (!warning || run === warned) return
  warned = run
  app.extensionManager.toast.add({ severity: 'warn', summary: 'MILD', detail: warning, life: LIFE })
}

app.registerExtension({
  name: 'MILD.Warnings',
  setup() {
    api.addEventListener('executed', ({ detail }) => {
      const said = detail.output?.mild_warning
      if (!said) return
      warnings.set(detail.node, said[0])
      show(said[0], detail.prompt_id)
    })
    api.addEventListener('execution_cached', ({ detail }) => {
      for (const node of detail.nodes) show(warnings.get(node), detail.prompt_id)
    })
  }
})
