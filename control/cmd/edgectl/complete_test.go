package main

import (
	"strings"
	"testing"
)

func TestSuggest(t *testing.T) {
	app := (&program{}).app()
	for line, want := range map[string]string{
		"job":                         "ls show explain logs exec events terminate",
		"job te":                      "",
		"deploy --w":                  "--wait",
		"deploy --wait":               "",
		"deploy --timeout":            "",
		"deploy --t":                  "--timeout --token",
		"--config x job logs x -f --": "",
		"job logs x -f --ti":          "--timestamps",
		"job show x":                  "",
		"--address a node":            "ls show",
		// What follows -- must neither be completed nor, above all, be run.
		"job exec x -- rm":   "",
		"job terminate -- x": "",
	} {
		var got []string
		for _, s := range suggest(app, strings.Fields(line)) {
			got = append(got, s.word)
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("%q: %q, want %q", line, g, want)
		}
	}
}
