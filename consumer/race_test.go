//go:build race

package consumer_test

// raced says that the race detector is on, which makes days of fake time minutes of
// real time: the longest stories tell of hours then, and are told in full without it.
const raced = true
