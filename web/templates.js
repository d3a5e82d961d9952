// What the templates of this pack need of the front end. Other workflows are not touched: both marks below are in
// the templates' files.

import { app } from '../../scripts/app.js'

const OPENS = 'mild_opening_view' // in a workflow's `extra`, beside the view itself, `ds`
const OWN_PHOTO = 'mild_own_photo' // in the properties of a Load Image that is bypassed

// Templates open where they begin: at their title, the first note and the first group, large enough to be read. The
// front end fits every template to the window, whatever view its file holds, and below a zoom of about 0.6 the classic
// canvas draws grey boxes without any text.
function openAtTheBeginning() {
  const extra = app.graph?.extra
  if (!extra?.[OPENS]) return
  // Once: a workflow that the artist saves, undoes or comes back to has a view of its own.
  delete extra[OPENS]
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
  if (!app.canvas.canvas.width || !app.canvas.canvas.height) requestAnimationFrame(() => requestAnimationFrame(show))
}

// The node for one's own photo is switched on by choosing one: until then the example photo comes out.
function switchOnByChoice(node) {
  if (!node.properties?.[OWN_PHOTO]) return
  const widget = node.widgets?.find(({ name }) => name === 'image')
  if (!widget) return
  const before = widget.callback
  widget.callback = function (...given) {
    node.mode = 0
    return before?.apply(this, given)
  }
}

app.registerExtension({
  name: 'MILD.Templates',
  loadedGraphNode: switchOnByChoice,
  afterConfigureGraph: openAtTheBeginning
})
