package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCleanMappings(t *testing.T) {
	const smaps = `00400000-00bf7000 r-xp 00000000 fe:00 1234                               /usr/bin/edgeagent
Size:               8156 kB
Anonymous:             0 kB
00bf7000-01500000 r--p 007f7000 fe:00 1234                               /usr/bin/edgeagent
Anonymous:             4 kB
01500000-01573000 rw-p 01100000 fe:00 1234                               /usr/bin/edgeagent
Anonymous:             0 kB
7f0000000000-7f0000001000 r--p 00000000 fe:00 99                         /usr/bin/other
Anonymous:             0 kB
7ffd0000000-7ffd0001000 r-xp 00000000 00:00 0                            [vdso]
Anonymous:             0 kB
odd
`
	got := cleanMappings(strings.NewReader(smaps), "/usr/bin/edgeagent")
	want := []mapping{{0x400000, 0xbf7000}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(mapping{})); diff != "" {
		t.Error(diff)
	}
}
