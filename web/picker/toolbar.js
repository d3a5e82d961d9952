// The buttons above the picture.

import { html } from './html.js'

const STEP = 1.25 // one click of the zoom buttons

export class Toolbar {
  constructor(view, texts) {
    this.view = view
    this.texts = texts
    const { picker, brush } = view
    const t = texts
    // Buttons are inputs: ComfyUI leaves Ctrl+Z alone while an input has the focus.
    const button = (label, tip, action) => {
      const element = html('input', { type: 'button', value: label, title: tip, 'aria-label': tip })
      element.addEventListener('click', action)
      return element
    }
    const several = (what) => (event) => picker.several(what, event.shiftKey ? undefined : view.page)
    this.buttons = [
      button(t.all, t.allTip, several('all')),
      button(t.none, t.noneTip, several('none')),
      button(t.invert, t.invertTip, several('invert'))
    ]
    this.undo = button('\u21b6', `${t.undo} (Ctrl+Z)`, () => picker.undo())
    this.redo = button('\u21b7', `${t.redo} (Ctrl+Y)`, () => picker.redo())
    this.brushes = ['add', 'take'].map((mode) => button(t[mode], t[`${mode}Tip`], () => brush.turnTo(mode)))
    this.size = html('input', { type: 'range', min: 0, max: 100, title: t.size, 'aria-label': t.size })
    this.size.addEventListener('input', () => (brush.step = Number(this.size.value)))
    this.clear = button('\u2715', t.clear, (event) => picker.removeStrokes(event.shiftKey ? undefined : view.page))
    this.previous = button('\u2039', t.previous, () => view.turn(-1))
    this.next = button('\u203a', t.next, () => view.turn(1))
    this.page = html('span', { 'aria-live': 'polite' })
    this.pager = html('span', { class: 'mild-group' }, this.previous, this.page, this.next)
    this.fit = button('\u2922', t.fit, () => view.zoomTo(1))
    this.zoom = [button('\u2212', t.smaller, () => this.closer(-1)), button('+', t.larger, () => this.closer(1))]
    const group = (...parts) => html('span', { class: 'mild-group' }, ...parts)
    this.element = html(
      'div',
      { class: 'mild-bar', role: 'toolbar', 'aria-label': t.title },
      group(...this.buttons),
      group(this.undo, this.redo),
      group(...this.brushes, this.size, this.clear),
      this.pager,
      group(...this.zoom, this.fit)
    )
  }

  /** One step nearer (1) or farther (-1). */
  closer(way) {
    this.view.zoomTo(this.view.zoom * STEP ** way)
  }

  update(locked) {
    const { picker, brush, photo, page, zoom } = this.view
    const count = picker.photos.length
    for (const button of this.buttons) button.disabled = locked || !count
    for (const button of this.zoom) button.disabled = !photo
    this.fit.disabled = !photo || zoom === 1
    this.undo.disabled = !picker.past.length
    this.redo.disabled = !picker.future.length
    for (const [index, button] of this.brushes.entries()) {
      button.disabled = !photo?.people.length
      button.setAttribute('aria-pressed', brush.mode === ['add', 'take'][index])
    }
    for (const element of [this.size, this.clear]) element.hidden = !brush.mode
    this.size.value = brush.step
    this.clear.disabled = !picker.stored.strokes.length
    this.pager.hidden = count < 2
    this.page.textContent = `${page + 1}/${count}`
    this.page.title = this.texts.page(page + 1, count)
    this.previous.disabled = page === 0
    this.next.disabled = page >= count - 1
  }
}
