// The people picker: what is chosen, and how it changes. What it looks like stands in view.js and drawing.js.
//
// The text `who` decides while it is not empty; a click turns the choice into points, stored in `picked`, and empties
// `who`.

import { everyone, named, placed, readPicks, writePicks } from './choice.js'
import { View } from './view.js'

const MOST_UNDO = 100

export class Picker {
  /**
   * host.read(): {who, picked, linked}, what the widgets hold; linked: a text comes in over a link. host.write({who,
   * picked}). host.url(image): where a picture is. host.graphUndoes(): Ctrl+Z reaches the graph in any case.
   */
  constructor(host, texts) {
    this.host = host
    this.photos = []
    this.ran = null // {who, picked, lost} of the run that the photos are from
    this.forget()
    this.view = new View(this, texts)
    this.element = this.view.element
    this.view.update()
  }

  /** What a run of the node showed; nothing after a reload. */
  setOutput(output) {
    const photos = output?.mild_people
    if (!photos || photos === this.photos) return
    this.photos = photos
    // One for each item of a list, all of the same texts.
    const runs = output.mild_choice ?? []
    this.ran = runs.length ? { ...runs[0], lost: runs.reduce((sum, run) => sum + run.lost, 0) } : null
    this.view.show()
    this.view.update()
  }

  /** The values were loaded: there is nothing to undo. */
  forget() {
    this.past = []
    this.future = []
    this.typing = false
    this.last = this.#value()
    this.view?.update()
  }

  /** The values may have changed outside of the picker, as when the artist writes into `who`. */
  refresh() {
    const value = this.#value()
    if (same(value, this.last)) return
    if (!this.typing) this.#remember() // one step for all letters of a text
    this.typing = true
    this.last = value
    this.view.update()
  }

  #value() {
    const { who, picked, linked } = this.host.read()
    return { who: linked ? (this.ran?.who ?? '') : who, picked }
  }

  /** A text comes in over a link, and a click could not change it. */
  get locked() {
    return this.host.read().linked && this.#value().who.trim() !== ''
  }

  /**
   * Who goes: {keys, picks, lost, unread, changed}. keys: a Set; picks: where each was clicked, by key; lost: how many
   * clicks lie on nobody; unread: the text cannot be read; changed: since the run that the photos are from.
   */
  choice() {
    const { who, picked } = this.#value()
    const { keys: picks, lost } = placed(who.trim() ? [] : readPicks(picked), this.photos)
    const changed = !this.ran || this.ran.who.trim() !== who.trim() || (!who.trim() && this.ran.picked !== picked)
    if (!changed) {
      // Exactly what ComfyUI made of it.
      const going = everyone(this.photos).filter(([, , person]) => person.erased)
      return { keys: new Set(going.map(([key]) => key)), picks, lost: this.ran.lost, unread: false, changed }
    }
    if (!who.trim()) return { keys: new Set(picks.keys()), picks, lost, unread: false, changed }
    const keys = named(who, this.photos)
    return { keys: keys ?? new Set(), picks, lost: 0, unread: !keys, changed }
  }

  get who() {
    return this.#value().who.trim()
  }

  /** How many were clicked, also while no people are shown. */
  get clicked() {
    return readPicks(this.#value().picked).length
  }

  /** One person goes instead of stays, or the other way round. point: x, y of the click, 0..1; else in the person. */
  toggle(key, point) {
    this.#change((going) => (going.has(key) ? going.delete(key) : going.add(key)), key, point)
  }

  /** "all", "none" or "invert" for one photo of the batch, or for every photo (photo undefined). */
  several(what, photo) {
    this.#change((going) => {
      for (const [key, index] of everyone(this.photos))
        if (photo === undefined || index === photo) {
          const goes = what === 'all' || (what === 'invert' && !going.has(key))
          if (goes) going.add(key)
          else going.delete(key)
        }
    })
  }

  #change(alter, clicked, point) {
    if (this.locked) return
    this.refresh()
    const { keys, picks } = this.choice()
    const going = new Set(keys)
    alter(going)
    const kept = everyone(this.photos).filter(([key]) => going.has(key))
    const chosen = kept.map(([key, photo, person]) => {
      const known = picks.get(key)
      const [x, y] = (key === clicked && point) || (known?.x !== undefined && [known.x, known.y]) || person.point
      const { item, place } = this.photos[photo]
      return { photo, number: person.number, x: Number(x.toFixed(4)), y: Number(y.toFixed(4)), item, place }
    })
    const value = { who: '', picked: writePicks(chosen) }
    if (same(value, this.last)) return
    this.#remember()
    this.#store(value)
  }

  #remember() {
    this.past.push(this.last)
    if (this.past.length > MOST_UNDO) this.past.shift()
    this.future = []
  }

  #store(value) {
    this.typing = false
    this.last = value
    this.host.write(value)
    this.view.update()
  }

  undo() {
    this.#step(this.past, this.future)
  }

  redo() {
    this.#step(this.future, this.past)
  }

  #step(from, to) {
    this.refresh()
    if (this.locked || !from.length) return
    to.push(this.last)
    this.#store(from.pop())
  }
}

function same(a, b) {
  return a.who === b.who && a.picked === b.picked
}
