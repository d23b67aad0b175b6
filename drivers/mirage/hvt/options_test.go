package hvt_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edgeio/edgeio/drivers/mirage/hvt"
)

func TestParseOptions(t *testing.T) {
	for _, tt := range []struct {
		line string // words
		want hvt.Options
	}{
		{"k", hvt.Options{MemoryMiB: 512, UID: -1, GID: -1, Kernel: "k"}},
		{"-- k", hvt.Options{MemoryMiB: 512, UID: -1, GID: -1, Kernel: "k"}},
		{"-- -k", hvt.Options{MemoryMiB: 512, UID: -1, GID: -1, Kernel: "-k"}},
		{"--mem=17 --uid=1 --gid=2 k --mem=1 -- x", hvt.Options{MemoryMiB: 16, UID: 1, GID: 2, Kernel: "k", Arguments: "--mem=1 -- x"}},
		{"--net-mac:a=02:00:00:00:00:0a --net:a=tap0 --block:b=/x=y:z --block-sector-size:b=4096 -- k", hvt.Options{
			MemoryMiB: 512, UID: -1, GID: -1, Kernel: "k", Devices: []hvt.Device{
				{Name: "a", Tap: "tap0", MAC: [6]byte{2, 0, 0, 0, 0, 10}}, {Name: "b", Path: "/x=y:z", SectorBytes: 4096},
			},
		}},
	} {
		got, err := hvt.ParseOptions(strings.Fields(tt.line))
		if err != nil {
			t.Errorf("%s: %v", tt.line, err)
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: %s", tt.line, d)
		}
	}
}

func TestParseOptionsRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"":                             "no kernel",
		"--mem=16":                     "no kernel",
		"--":                           "no kernel",
		"--mem=0 k":                    "2 to 4096",
		"--mem=5000 k":                 "2 to 4096",
		"--mem=x k":                    "2 to 4096",
		"--mem k":                      "2 to 4096",
		"--mem:a=16 k":                 "not known",
		"--uid=-1 k":                   "want a number",
		"--gid=4294967296 k":           "want a number",
		"--gdb k":                      "not known",
		"-x k":                         "not known",
		"--net=tap0 k":                 "--net:NAME=",
		"--net:=tap0 k":                "letters and digits",
		"--net:a/b=tap0 k":             "letters and digits",
		"--net:a= k":                   "no value",
		"--net:a k":                    "no value",
		"--net:a=@3 k":                 "not the name of a tap",
		"--net:a=sixteenletters16 k":   "not the name of a tap",
		"--net:a=t --net:a=u k":        "attached already",
		"--net:a=t --block:a=f k":      "attached already",
		"--net-mac:a=02:00:00:00:00 k": "address of one interface",
		"--net:a=t --net-mac:a=03:00:00:00:00:01 k": "address of one interface",
		"--net:a=t --net-mac:a=0200000000001 k":     "address of one interface",
		"--net-mac:a=02:00:00:00:00:01 k":           "not attached",
		"--block:b=f --block-sector-size:b=1000 k":  "power of two",
		"--block:b=f --block-sector-size:b=65536 k": "power of two",
		"--block-sector-size:b=512 k":               "not attached",
		"k " + strings.Repeat("x", 8192):            "at most 8191",
	} {
		if got, err := hvt.ParseOptions(strings.Fields(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v; want an error with %q", line, got, err, want)
		}
	}
}

func FuzzParseOptions(f *testing.F) {
	f.Add("--mem=16\x00--net:a=tap0\x00--net-mac:a=02:00:00:00:00:0a\x00--block:b=f\x00--block-sector-size:b=4096\x00--uid=1\x00--\x00k\x00x")
	f.Fuzz(func(t *testing.T, line string) {
		o, err := hvt.ParseOptions(strings.Split(line, "\x00"))
		if err != nil {
			return
		}
		if o.MemoryMiB < 2 || o.MemoryMiB > 4096 || o.MemoryMiB%2 != 0 || o.UID < -1 || o.GID < -1 || len(o.Arguments) > 8191 {
			t.Fatalf("%+v", o)
		}
		for _, d := range o.Devices {
			if (d.Tap == "") == (d.Path == "") {
				t.Fatalf("%+v", d)
			}
		}
	})
}
