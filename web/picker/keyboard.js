// What keys do in the picker.

const SIZES = 6 // steps of the brush's slider for one key

/** A key went down while something in the picker has the focus. */
export function keyDown(view, event) {
  const done = pressed(view, event)
  if (done === undefined) return
  event.stopPropagation() // Delete and the letters are shortcuts of the graph
  if (done) event.preventDefault()
}

/** The space bar was held to drag the picture. */
export function keyUp(view, event) {
  if (event.key !== ' ' || !view.brush.mode) return
  view.setHand(false)
  event.preventDefault() // it would tick the box that has the focus
}

/** True: it did something; false: it means nothing here; undefined: it is for whoever is around the picker. */
function pressed(view, event) {
  const { picker, brush, focused } = view
  const key = event.key.toLowerCase()
  if (event.ctrlKey || event.metaKey) {
    if (event.altKey || !['z', 'y'].includes(key) || picker.host.graphUndoes()) return undefined
    if (key === 'y' || event.shiftKey) picker.redo()
    else picker.undo()
    return true
  }
  if (event.altKey) return undefined
  if (key === 'escape') return escape(view)
  if (event.target.type === 'range') return false // its own keys move it
  if (key.startsWith('arrow') && focused) walk(view, key.slice(5))
  else if (key === 'enter' && focused) view.toggle(focused)
  else if (key === '+' || key === '-') view.toolbar.closer(key === '+' ? 1 : -1)
  else if (key === '0') view.zoomTo(1)
  else if (key === 'pageup' || key === 'pagedown') view.turn(key === 'pageup' ? -1 : 1)
  else if (key === 'b' || key === 'e') view.photo?.people.length && brush.turnTo(key === 'b' ? 'add' : 'take')
  else if ((key === '[' || key === ']') && brush.mode) brush.step += key === '[' ? -SIZES : SIZES
  else if (key === ' ' && brush.mode && event.target.type !== 'button') view.setHand(true)
  else return false
  return true
}

function escape(view) {
  const { brush } = view
  if (brush.cancel()) return true
  if (brush.mode) brush.turnTo(undefined)
  else if (view.zoom === 1) return undefined
  else view.zoomTo(1)
  return true
}

/** The focus goes to the next person: left and right in the order of the numbers, up and down by place. */
function walk(view, where) {
  const keys = [...view.boxes].filter(([, box]) => !box.disabled).map(([key]) => key)
  let next = keys[keys.indexOf(view.focused) + (where === 'right' ? 1 : -1)]
  if (where === 'up' || where === 'down') next = nearest(view, keys, where === 'up' ? -1 : 1)
  view.boxes.get(next)?.focus({ preventScroll: true })
}

function nearest(view, keys, down) {
  const { things } = view.drawing
  const from = things.get(view.focused)
  let [best, least] = [undefined, Infinity]
  for (const key of keys) {
    const to = things.get(key)
    const along = (to.y - from.y) * down
    const away = along + 2 * Math.abs(to.x - from.x)
    if (along > 0 && away < least) [best, least] = [key, away]
  }
  return best
}
