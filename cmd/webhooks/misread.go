package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// misread is the error of a command line that could not be read. Of a value that
// begins with a minus the parser only says that it looks like a flag.
func misread(args []string, err error) error {
	parse, is := errors.AsType[*kong.ParseError](err)
	if !is || parse.Context == nil || parse.Context.Selected() == nil {
		return usage{withoutCredentials(args, err)}
	}
	for i, value := range args[1:] {
		if name, is := strings.CutPrefix(args[i], "--"); is && !mayHoldCredential(name) && isNegative(value) && takesValue(parse.Context.Selected(), name) {
			return usage{withHint("leave the minus away: "+args[i]+" "+value[1:]+counted(name), "%s %s: no value is negative", args[i], value)}
		}
	}
	return usage{withoutCredentials(args, err)}
}

func isNegative(s string) bool {
	return len(s) > 1 && s[0] == '-' && strings.ContainsRune(".0123456789", rune(s[1]))
}

func takesValue(n *kong.Node, name string) bool {
	return slices.ContainsFunc(slices.Concat(n.AllFlags(false)...), func(f *kong.Flag) bool { return f.Name == name && !f.IsBool() })
}

// counted says what a duration means where a moment is wanted.
func counted(name string) string {
	if name == "since" || name == "until" {
		return " is so long ago"
	}
	return ""
}
