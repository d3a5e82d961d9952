// The photo with all of its pixels, fetched when somebody looks closely: the picture under the people is smaller.

const SMALL = 1600 // longest side of that picture (PICKER_LONGEST in nodes/show.py)

export class FullPhoto {
  /** url(file): where a picture is; ready(): called when one came. */
  constructor(url, ready) {
    this.url = url
    this.ready = ready
    this.canvas = document.createElement('canvas')
    this.canvas.className = 'mild-sharp'
    this.canvas.hidden = true
  }

  /** The photo's pixels, an ImageBitmap; undefined until they are there. */
  of(photo) {
    const file = photo.full ?? photo.image
    if (file && file !== this.file) this.#fetch(file)
    return this.bitmap
  }

  async #fetch(file) {
    this.bitmap?.close() // a hundred megabytes for 24 megapixels
    this.bitmap = undefined
    this.file = file
    try {
      const answer = await fetch(this.url(file))
      const bitmap = await createImageBitmap(await answer.blob())
      if (file !== this.file) return bitmap.close()
      this.bitmap = bitmap
      this.ready()
    } catch {
      // gone, as after a restart of ComfyUI: the smaller picture stays, and the next run brings another
    }
  }

  /**
   * Draw what is to be seen of the photo at view {x, y, scale} on the stage, if its pixels are larger than those of the
   * smaller picture; whether that was so. ratio: the screen's pixels in one of the stage's.
   */
  draw(photo, view, width, height, ratio) {
    const { canvas } = this
    const close = photo.full && view.scale * ratio > SMALL / Math.max(photo.width, photo.height)
    const bitmap = close && this.of(photo)
    canvas.hidden = !bitmap
    if (!bitmap) return false
    canvas.width = Math.round(width * ratio)
    canvas.height = Math.round(height * ratio)
    drawPart(canvas.getContext('2d'), bitmap, photo, -view.x / view.scale, -view.y / view.scale, view.scale * ratio)
    return true
  }
}

/** Fill a canvas with the photo: its pixel left, top at the corner, each `scale` pixels of the canvas large. */
export function drawPart(context, bitmap, photo, left, top, scale) {
  const { width, height } = context.canvas
  const [x0, y0] = [Math.max(0, Math.floor(left)), Math.max(0, Math.floor(top))]
  const x1 = Math.min(photo.width, Math.ceil(left + width / scale))
  const y1 = Math.min(photo.height, Math.ceil(top + height / scale))
  if (x1 <= x0 || y1 <= y0) return
  const share = bitmap.width / photo.width
  const place = [(x0 - left) * scale, (y0 - top) * scale, (x1 - x0) * scale, (y1 - y0) * scale]
  context.imageSmoothingEnabled = scale < 2 // the pixels themselves, from close by
  context.drawImage(bitmap, x0 * share, y0 * share, (x1 - x0) * share, (y1 - y0) * share, ...place)
}
