package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// arrange puts the flags of a command in front of its arguments, where
// urfave/cli wants them, so that "join ADDRESS --token T" works. What follows
// "--" is left alone, as is a flag that nobody knows: the command complains.
func arrange(commands []*cli.Command, argv []string) []string {
	if len(argv) == 0 || slices.Contains(argv, "--generate-bash-completion") {
		return argv
	}
	path, rest := argv[:1:1], argv[1:]
	var known []cli.Flag
	for len(rest) > 0 {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(rest[0]) })
		if i < 0 {
			break
		}
		path = append(path, rest[0])
		known, commands = commands[i].Flags, commands[i].Subcommands
		rest = rest[1:]
	}
	var flags, args []string
	for len(rest) > 0 {
		word := rest[0]
		rest = rest[1:]
		switch {
		case word == "--":
			args = append(append(args, word), rest...)
			rest = nil
		case len(word) < 2 || word[0] != '-':
			args = append(args, word)
		default:
			flags = append(flags, word)
			if wantsNext(known, word) && len(rest) > 0 {
				flags = append(flags, rest[0])
				rest = rest[1:]
			}
		}
	}
	return slices.Concat(path, flags, args)
}

// wantsNext reports whether the value of a flag is the next word.
func wantsNext(known []cli.Flag, word string) bool {
	name, _, joined := strings.Cut(strings.TrimLeft(word, "-"), "=")
	if joined {
		return false
	}
	for _, f := range known {
		if d, ok := f.(cli.DocGenerationFlag); ok && slices.Contains(f.Names(), name) {
			return d.TakesValue()
		}
	}
	return false
}
