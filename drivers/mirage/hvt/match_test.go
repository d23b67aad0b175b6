package hvt

import (
	"slices"
	"strings"
	"testing"

	"github.com/edgeio/edgeio/drivers/mirage/solo5"
)

func TestMatch(t *testing.T) {
	manifest := []solo5.Device{{Name: "disk", Type: solo5.Block}, {Name: "web", Type: solo5.Net}}
	web, disk := Device{Name: "web", Tap: "tap0"}, Device{Name: "disk", Path: "/d"}
	got, err := match(manifest, []Device{web, disk})
	if err != nil || !slices.Equal(got, []Device{disk, web}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, tt := range []struct {
		asked []Device
		want  []string
	}{
		{nil, []string{"--block:disk=FILE", "--net:web=TAP"}},
		{[]Device{web}, []string{"--block:disk=FILE"}},
		{[]Device{web, disk, {Name: "other", Tap: "t"}}, []string{"no device other"}},
		{[]Device{{Name: "web", Path: "/d"}, {Name: "disk", Tap: "t"}}, []string{"web is a net device", "disk is a block device"}},
	} {
		_, err := match(manifest, tt.asked)
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v, want %q", tt.asked, err, want)
			}
		}
	}
}
