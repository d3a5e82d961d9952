// Shadows, reflections and carried things: which is clicked, and which are taken. The same rules as
// mild_core/people/picked_effects.py.
//
// An effect is {kind, box, point, rings, taken, proposed}, in its person's `effects`: taken, what the last run made of
// it; proposed, what it is without any click. Their keys are "photo/number/place".

import { inside, keyOf, meant, smallest } from './choice.js'

/** A person's effects as [key, effect]. */
export function effectsOf(index, person) {
  return (person.effects ?? []).map((effect, place) => [`${keyOf(index, person)}/${place}`, effect])
}

/** All effects of all photos, as {key, effect, owner, photo, number}; owner: the person's key; photo: its index. */
export function everyEffect(photos) {
  return photos.flatMap((photo, index) =>
    photo.people.flatMap((person) =>
      effectsOf(index, person).map(([key, effect]) => {
        return { key, effect, owner: keyOf(index, person), photo: index, number: person.number }
      })
    )
  )
}

/** Where each click lies: a Map from key to click, and how many lie on nothing of their kind. */
export function placedEffects(picks, photos) {
  const keys = new Map()
  let lost = 0
  const all = everyEffect(photos)
  for (const pick of picks) {
    const here = all.filter(({ photo, effect }) => photo === pick.photo && effect.kind === pick.kind)
    const things = here.map(({ key, effect, number }) => ({ key, number, box: effect.box, rings: effect.rings }))
    const found = photos[pick.photo] && meant(photos[pick.photo], pick, things)
    if (found) keys.set(found.key, pick)
    else lost++
  }
  return { keys, lost }
}

/**
 * The key of what is under a point of photo number `index`: the smallest thing, but a person and not the shadow of
 * somebody else on them. Effects of people who stay cannot be clicked: they stay with them.
 */
export function thingAt(photo, index, x, y, going) {
  const people = photo.people.filter((person) => inside(person, x, y))
  const owners = people.length ? (people.length === 1 ? people : []) : photo.people
  const effects = owners
    .filter((person) => going.has(keyOf(index, person)))
    .flatMap((person) => effectsOf(index, person))
    .filter(([, effect]) => inside(effect, x, y))
  const things = [...effects.map(([key, effect]) => ({ key, ...effect })),
    ...people.map((person) => ({ key: keyOf(index, person), rings: person.rings }))]
  return smallest(things)?.key
}
