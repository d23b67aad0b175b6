package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// completeFlag is what the completion scripts put at the end of a line that is
// being typed.
const completeFlag = "--generate-bash-completion"

// suggestion is one way to go on with a line.
type suggestion struct{ word, usage string }

// suggest says how a line can go on. It is done here rather than by urfave/cli,
// which runs a line that has "--" in it, and crashes on half a flag. What
// stands behind "--", arguments and values of flags are for the shell.
func suggest(app *cli.App, words []string) []suggestion {
	if slices.Contains(words, "--") {
		return nil
	}
	a := arranger{app: app, commands: app.Commands}
	for i := 0; i < len(words); i++ {
		w := words[i]
		if !strings.HasPrefix(w, "-") || w == "-" {
			a.word(w)
			continue
		}
		f := find(slices.Concat(a.flags, app.Flags), w)
		switch last := i == len(words)-1; {
		case f == nil && last:
			return flagsWith(slices.Concat(a.flags, app.Flags), w)
		case f != nil && takesValue(f) && !strings.Contains(w, "=") && optional[w] == "":
			if last {
				return nil
			}
			i++
		}
	}
	var out []suggestion
	for _, c := range a.commands {
		out = append(out, suggestion{c.Name, c.Usage})
	}
	return out
}

// flagsWith are the flags whose names begin like a word.
func flagsWith(flags []cli.Flag, word string) []suggestion {
	var out []suggestion
	for _, f := range flags {
		for _, name := range f.Names() {
			full := "--" + name
			if len(name) == 1 {
				full = "-" + name
			}
			if strings.HasPrefix(full, word) {
				usage := ""
				if d, ok := f.(cli.DocGenerationFlag); ok {
					usage = strings.ReplaceAll(d.GetUsage(), "`", "")
				}
				out = append(out, suggestion{full, usage})
			}
		}
	}
	return out
}

// complete prints the suggestions in the form that the shell of the script wants.
func (p *program) complete(app *cli.App, words []string) {
	for _, s := range suggest(app, words) {
		switch p.getenv("EDGECTL_COMPLETE") {
		case "zsh":
			fmt.Fprintf(p.stdout, "%s:%s\n", strings.ReplaceAll(s.word, ":", `\:`), s.usage)
		case "fish":
			fmt.Fprintf(p.stdout, "%s\t%s\n", s.word, s.usage)
		default:
			fmt.Fprintln(p.stdout, s.word)
		}
	}
}
