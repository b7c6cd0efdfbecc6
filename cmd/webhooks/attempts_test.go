package main

import (
	"context"
	"strings"
	"testing"
)

func TestFollowedAttemptsAreThoseOfBeforeAndThoseThatCome(t *testing.T) {
	d := atWork(t)
	if _, errw, code := d.command(t, "endpoint", "set", "s1", "--url", d.hook, "--secret-file", d.secret); code != exitOK {
		t.Fatal(errw)
	}
	d.publish(t, "s1", "before")
	within(t, func() string {
		out, _, _ := d.command(t, "attempts", "--response", "before")
		return missing(out, "before  try 1: delivered")
	})
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out, errw lockedBuffer
	ended := make(chan exitCode, 1)
	go func() {
		ended <- run(ctx, []string{"attempts", "--follow", "--since", "1h", "--survey", "s1"}, d.env, strings.NewReader(""), &out, &errw)
	}()
	within(t, func() string { return missing(out.String(), "before  try 1: delivered") })
	d.publish(t, "s1", "new")
	within(t, func() string { return missing(out.String(), "new  try 1: delivered") })
	select {
	case code := <-ended:
		t.Fatalf("it ends by itself, with %d: %s", code, errw.String())
	default:
	}
	interrupt()
	if code := <-ended; code != exitOK || errw.String() != "" { // it has done what it was to do
		t.Errorf("interrupted, it ends with %d and says %q", code, errw.String())
	}
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("two attempts were made, and this is printed:\n%s", out.String())
	}
}

// missing says that a part is not in a text.
func missing(text, part string) string {
	if strings.Contains(text, part) {
		return ""
	}
	return "there is no " + part + " in: " + text
}
