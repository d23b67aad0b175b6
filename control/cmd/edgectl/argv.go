package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// optional are the flags whose value may be left out, and what that means.
var optional = map[string]string{"--wait": "--wait=RUNNING"}

// arrange puts the flags of a command line in front of its arguments, where
// urfave/cli wants them, so that "job show ID -o json" works; flags of edgectl
// itself go in front of the command. What follows "--" is left alone. Flags
// that nobody knows stay with the command, which then complains.
func arrange(app *cli.App, argv []string) []string {
	if len(argv) == 0 {
		return argv
	}
	a := arranger{app: app, commands: app.Commands, flags: nil}
	rest := argv[1:]
	for len(rest) > 0 {
		word := rest[0]
		rest = rest[1:]
		switch {
		case word == "--":
			a.args = append(a.args, rest...)
			rest = nil
		case len(word) > 1 && word[0] == '-':
			rest = a.flag(word, rest)
		default:
			a.word(word)
		}
	}
	out := slices.Concat(argv[:1], a.global, a.path, a.local)
	if len(a.args) > 0 {
		out = append(append(out, "--"), a.args...)
	}
	return out
}

// arranger sorts the words of a command line.
type arranger struct {
	app      *cli.App
	commands []*cli.Command // that may come next
	flags    []cli.Flag     // of the command so far
	global   []string
	path     []string
	local    []string
	args     []string
}

// word takes the name of a command or an argument.
func (a *arranger) word(w string) {
	if len(a.args) == 0 {
		for _, c := range a.commands {
			if c.HasName(w) {
				a.path = append(a.path, w)
				a.commands, a.flags = c.Subcommands, c.Flags
				return
			}
		}
	}
	a.args = append(a.args, w)
	a.commands = nil
}

// flag takes a flag, and its value if that is the next word.
func (a *arranger) flag(w string, rest []string) []string {
	if full, ok := optional[w]; ok && takesValue(find(a.flags, w)) {
		w = full
	}
	into := &a.local
	f := find(a.flags, w)
	if f == nil {
		if f = find(a.app.Flags, w); f != nil {
			into = &a.global
		}
	}
	*into = append(*into, w)
	if f != nil && takesValue(f) && !strings.Contains(w, "=") && len(rest) > 0 {
		*into = append(*into, rest[0])
		rest = rest[1:]
	}
	return rest
}

// find returns the flag that a word names, nil if it is none of flags.
func find(flags []cli.Flag, word string) cli.Flag {
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func takesValue(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}
