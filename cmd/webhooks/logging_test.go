package main

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

// failing is a place to write to that panics so many times.
type failing struct {
	bytes.Buffer
	times int
}

func (f *failing) Write(p []byte) (int, error) {
	if f.times > 0 {
		f.times--
		panic("in hand was " + string(p))
	}
	return f.Buffer.Write(p)
}

// The log's lines are written by a goroutine of its own: a panic there would end the process.
func TestTheLogSurvivesAPanicWhileItIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &failing{times: 2}
		b := newBuffered(out)
		_, err := b.Write([]byte("one\n"))
		must(t, err)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got := out.String(); got != "one\n" {
			t.Errorf("written is %q, want the line as soon as it can be", got)
		}
		_, err = b.Write([]byte("two\n"))
		must(t, err)
		time.Sleep(2 * logFlush)
		synctest.Wait()
		if got := out.String(); got != "one\ntwo\n" {
			t.Errorf("written is %q, want the next line too", got)
		}
		_, err = b.Write([]byte("three\n"))
		must(t, err)
		out.times = 1
		b.stop() // returns all the same
		if out.times != 0 {
			t.Error("what was left at the end was not written")
		}
	})
}
