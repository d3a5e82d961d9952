// A message in the browser where ComfyUI did not load the nodes: few artists read the server's log.

import { api } from '../../scripts/api.js'
import { app } from '../../scripts/app.js'
import { textsFor } from './picker/texts.js'

const NEEDS = '0.24.1' // ComfyUI; as in __init__.py

app.registerExtension({
  name: 'MILD.DidNotLoad',
  async setup() {
    if ('MILD_ChoosePeople' in window.LiteGraph.registered_node_types) return
    const { system } = await api.getSystemStats()
    const texts = textsFor(app.extensionManager.setting.get('Comfy.Locale'))
    const detail = texts.notLoaded(NEEDS, system.comfyui_version)
    app.extensionManager.toast.add({ severity: 'error', summary: 'MILD', detail })
  }
})
