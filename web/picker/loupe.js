// The photo at 1:1 around the cursor, beside the place where the brush paints.

import { drawPart } from './full_photo.js'
import { outline } from './strokes.js'

const SIDE = 148 // pixels of the stage

export class Loupe {
  constructor() {
    this.canvas = document.createElement('canvas')
    this.canvas.className = 'mild-loupe'
    this.hide()
  }

  hide() {
    this.canvas.hidden = true
  }

  /**
   * Show the photo around x, y (its pixels), one of its pixels on one of the screen. ratio: the screen's pixels in one of
   * the stage's; person: whose mask is painted; line: what is painted just now; onRight: whether the cursor is there.
   */
  draw(photo, bitmap, { x, y, radius, person, line, ratio, onRight }) {
    const { canvas } = this
    const side = Math.round(SIDE * ratio)
    canvas.hidden = false
    canvas.width = canvas.height = side
    Object.assign(canvas.style, { width: `${SIDE}px`, height: `${SIDE}px` })
    Object.assign(canvas.style, onRight ? { left: '6px', right: '' } : { left: '', right: '6px' })
    const context = canvas.getContext('2d')
    context.fillStyle = '#606060'
    context.fillRect(0, 0, side, side)
    if (bitmap) drawPart(context, bitmap, photo, x - side / 2, y - side / 2, 1)
    context.translate(side / 2 - x, side / 2 - y)
    context.lineJoin = context.lineCap = 'round'
    if (line) stroke(context, outline([line.points], { width: 1, height: 1 }, false), line.diameter, line.colour)
    const edge = outline(person.rings, photo)
    const thin = Math.max(1, ratio)
    stroke(context, edge, 3 * thin, 'rgb(0 0 0 / 0.5)')
    stroke(context, edge, 1.3 * thin, '#fff')
    const circle = new Path2D()
    circle.arc(x, y, Math.max(1, radius), 0, 2 * Math.PI)
    stroke(context, circle, 3 * thin, 'rgb(0 0 0 / 0.5)')
    stroke(context, circle, 1.3 * thin, '#ffd84d')
  }
}

function stroke(context, path, width, colour) {
  context.lineWidth = width
  context.strokeStyle = colour
  context.stroke(path)
}
