package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// misread is the error of a command line that could not be read. Of a value that
// begins with a minus the parser only says that it looks like a flag, and of one that
// is missing, that there is an EOL.
func misread(args []string, err error) error {
	parse, is := errors.AsType[*kong.ParseError](err)
	if !is || parse.Context == nil || parse.Context.Selected() == nil {
		return usage{err}
	}
	command := parse.Context.Selected()
	for i, arg := range args {
		name, is := strings.CutPrefix(arg, "--")
		switch {
		case !is || !takesValue(command, name):
		case i == len(args)-1:
			return usage{withHint(seeHelp(command), "%s needs a value", arg)}
		case isNegative(args[i+1]):
			return usage{withHint("leave the minus away: "+arg+" "+args[i+1][1:]+counted(name), "%s %s: no value is negative", arg, args[i+1])}
		}
	}
	return usage{err}
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
