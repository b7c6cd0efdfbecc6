package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// filler makes an event about 1 KB, as events are.
var filler = strings.Repeat("x", 700)

// What the receiver looks for in an event; it must not spend its time on JSON.
const (
	idMark        = `"response":{"id":"r-`
	publishedMark = `"published":"`
)

// newEvent is the i-th event, for a survey, published at a moment.
func newEvent(i, s int, at time.Time) []byte {
	return fmt.Appendf(nil, `{"event":"response.completed","timestamp":"%s","origin":"web","survey":{"id":"%s","name":"Customer Satisfaction Survey"},%s%d","answers":[{"questionId":"q1","value":9},{"questionId":"q2","value":"%s"}],"customParams":{"plan":"pro",%s%d"},"completedAt":"2024-01-22T12:00:00.000Z"}}`,
		at.UTC().Format(time.RFC3339Nano), survey(s), idMark, i, filler, publishedMark, at.UnixNano())
}

var errNoEvent = errors.New("this is none of our events")

// readEvent says which event it is and when it was published.
func readEvent(body []byte) (i int, published int64, err error) {
	n, err := numberBehind(body, idMark)
	if err != nil {
		return 0, 0, err
	}
	published, err = numberBehind(body, publishedMark)
	return int(n), published, err
}

func numberBehind(body []byte, mark string) (int64, error) {
	_, rest, found := bytes.Cut(body, []byte(mark))
	digits, _, ended := bytes.Cut(rest, []byte(`"`))
	if !found || !ended {
		return 0, errNoEvent
	}
	return strconv.ParseInt(string(digits), 10, 64)
}
