// The templates of this pack open where they begin: at their title, the first note and the first group, large enough to
// be read. The front end fits every template to the window, whatever view its file holds, and below a zoom of about 0.6
// the classic canvas draws grey boxes without any text.

import { app } from '../../scripts/app.js'

const MARK = 'mild_opening_view' // in a workflow's `extra`, beside the view itself, `ds`

app.registerExtension({
  name: 'MILD.OpeningView',
  afterConfigureGraph() {
    const extra = app.graph?.extra
    if (!extra?.[MARK]) return
    // Once: a workflow that the artist saves, undoes or comes back to has a view of its own.
    delete extra[MARK]
    if (!extra.ds || !app.extensionManager?.setting?.get('Comfy.EnableWorkflowViewRestore')) return
    const { scale, offset } = structuredClone(extra.ds)
    const show = () => {
      app.canvas.ds.scale = scale
      app.canvas.ds.offset[0] = offset[0]
      app.canvas.ds.offset[1] = offset[1]
      app.canvas.setDirty(true, true)
    }
    show()
    // Coming from app mode, the canvas is not there yet, and the front end fits the view one frame later.
    if (!app.canvas.canvas.width || !app.canvas.canvas.height)
      requestAnimationFrame(() => requestAnimationFrame(show))
  }
})
