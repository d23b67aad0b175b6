package placement

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestAtLeast(t *testing.T) {
	for _, tt := range []struct {
		have, want string
		ok         bool
	}{
		{"20.10.24+dfsg1", "20.10", true}, {"20.10", "20.10.0", true}, {"20.9", "20.10", false}, {"v2.0.1", "2", true},
		{"", "1", false}, {"latest", "0", false}, {"5.15.0-91-generic", "5.15.1", false}, {"19.03", "19.3", true}, {"99999999999999999999", "1", false},
	} {
		if got := AtLeast(tt.have, tt.want); got != tt.ok {
			t.Errorf("AtLeast(%q, %q) is %v", tt.have, tt.want, got)
		}
	}
}

// TestAllotFindsWhatThereIs compares with trying everything.
func TestAllotFindsWhatThereIs(t *testing.T) {
	kinds := rapid.SampledFrom([]string{"gpu", "camera"})
	vendors := rapid.SampledFrom([]string{"", "a", "b"})
	rapid.Check(t, func(t *rapid.T) {
		devices := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Devices {
			return Devices{Kind: kinds.Draw(t, "kind"), Vendor: vendors.Draw(t, "vendor"), Count: rapid.IntRange(0, 2).Draw(t, "count"), Shared: rapid.Bool().Draw(t, "shared"), Names: []string{rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name")}}
		}), 0, 4).Draw(t, "devices")
		demands := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Demand {
			d := Demand{Kind: kinds.Draw(t, "kind"), Vendor: vendors.Draw(t, "vendor")}
			if rapid.Bool().Draw(t, "by name") {
				d = Demand{Name: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name")}
			}
			return d
		}), 0, 4).Draw(t, "demands")
		used := make([]int, len(devices))
		var try func(i int) bool
		try = func(i int) bool {
			if i == len(demands) {
				return true
			}
			for d := range devices {
				if demands[i].Suits(devices[d]) && used[d] < devices[d].Count {
					used[d]++
					ok := try(i + 1)
					used[d]--
					if ok {
						return true
					}
				}
			}
			return false
		}
		of, missing := Allot(devices, demands)
		if possible := try(0); possible != (missing == nil) {
			t.Fatalf("possible: %v, missing %v", possible, missing)
		}
		if missing != nil {
			return
		}
		for i, d := range of {
			used[d]++
			if !demands[i].Suits(devices[d]) || used[d] > devices[d].Count {
				t.Fatalf("%v was given %v", demands[i], devices[d])
			}
		}
		before := slices.Clone(devices)
		left, ok := Take(devices, demands)
		count := func(all []Devices) (n int) {
			for _, d := range all {
				if !d.Shared {
					n += d.Count
				}
			}
			return n
		}
		exclusive := 0
		for _, d := range of {
			if !devices[d].Shared {
				exclusive++
			}
		}
		if !ok || count(left) != count(devices)-exclusive {
			t.Fatalf("%v is left of %v for %v", left, devices, demands)
		}
		for i := range before {
			if before[i].Count != devices[i].Count || !slices.Equal(before[i].Names, devices[i].Names) {
				t.Fatal("the argument was changed")
			}
		}
	})
}
