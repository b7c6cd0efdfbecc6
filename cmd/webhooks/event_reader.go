package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/go-json-experiment/json/jsontext"
)

// eventReader reads events from one JSON value, an array of them, or a sequence
// of values, and keeps their bytes as they are. Whether they are events is for
// the publisher to say.
type eventReader struct {
	dec   *jsontext.Decoder
	lines *lineCounter
	err   error // why reading ended early
}

func newEventReader(in io.Reader) *eventReader {
	lines := &lineCounter{r: in}
	// The publisher checks each event strictly; here it is enough to find its end.
	return &eventReader{lines: lines, dec: jsontext.NewDecoder(lines, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))}
}

// events yields each event's bytes, which are the caller's to keep, and the
// line it begins on.
func (r *eventReader) events() iter.Seq2[[]byte, int] {
	return func(yield func([]byte, int) bool) {
		inArray := r.dec.PeekKind() == '['
		if inArray {
			if _, err := r.dec.ReadToken(); err != nil {
				r.fail(err)
				return
			}
		}
		for {
			kind := r.dec.PeekKind()
			if inArray && kind == ']' {
				r.end()
				return
			}
			v, err := r.dec.ReadValue()
			if errors.Is(err, io.EOF) && !inArray {
				return
			}
			if err != nil {
				r.fail(err)
				return
			}
			start := r.dec.InputOffset() - int64(len(v))
			if !yield(bytes.Clone(v), r.lines.at(start)) {
				return
			}
		}
	}
}

// end reads what closes an array, behind which nothing may follow.
func (r *eventReader) end() {
	if _, err := r.dec.ReadToken(); err != nil {
		r.fail(err)
		return
	}
	if _, err := r.dec.ReadToken(); !errors.Is(err, io.EOF) {
		r.fail(errors.New("something follows the array"))
	}
}

func (r *eventReader) fail(err error) {
	if unread, ok := errors.AsType[*unread](err); ok {
		r.err = unread
		return
	}
	offset := r.dec.InputOffset()
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		offset, err = syntax.ByteOffset, syntax.Err
	}
	r.err = usage{withHint("everything before this line was handled; give JSON: one event, an array of events, or an event a line",
		"the input is not valid JSON at line %d (byte %d): %w", r.lines.at(offset), offset, err)}
}

// offset is how many bytes have been read.
func (r *eventReader) offset() int64 { return r.dec.InputOffset() }

// lineCounter remembers where lines end, to say on which one a byte is.
type lineCounter struct {
	r    io.Reader
	read int64
	ends []int64 // offsets of line ends after the last one asked for
	line int     // lines before ends[0]
}

// Read implements io.Reader.
func (c *lineCounter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for i, b := range p[:n] {
		if b == '\n' {
			c.ends = append(c.ends, c.read+int64(i))
		}
	}
	c.read += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &unread{fmt.Errorf("read events: %w", err)}
	}
	return n, err
}

// unread is why the input could not be read on; what had been read may be good.
type unread struct{ error }

func (u *unread) Unwrap() error { return u.error }

// at is the line of an offset, from 1. Offsets must not go back.
func (c *lineCounter) at(offset int64) int {
	for len(c.ends) > 0 && c.ends[0] < offset {
		c.ends = c.ends[1:]
		c.line++
	}
	return c.line + 1
}
