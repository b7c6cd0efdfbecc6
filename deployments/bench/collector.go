package main

import "runtime/debug"

// seldom is the GOGC of the processes around what is measured: with some 10 MiB in
// use they take 100, and collect every few seconds.
const seldom = 1000

// collectSeldom is for the receiver and the publisher: they share the CPUs with what is
// measured, collected three and six times a second, and each time took the CPU from it
// for longer than most events take.
func collectSeldom() { debug.SetGCPercent(seldom) }
