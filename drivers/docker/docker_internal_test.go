package docker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/jsonstream"

	"github.com/edgeio/edgeio/drivers"
)

func TestExitOf(t *testing.T) {
	boot := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(minutes int) string {
		return boot.Add(time.Duration(minutes) * time.Minute).Format(time.RFC3339Nano)
	}
	const never = "0001-01-01T00:00:00Z"
	cases := []struct {
		name  string
		state container.State
		boot  time.Time
		code  int
		lost  bool
		oom   bool
	}{
		{"ended by itself", container.State{StartedAt: at(1), FinishedAt: at(2), ExitCode: 3}, boot, 3, false, false},
		{"code 255 of its own", container.State{StartedAt: at(1), FinishedAt: at(2), ExitCode: 255}, boot, 255, false, false},
		{"ended before it was noted as started", container.State{StartedAt: at(2), FinishedAt: at(1), ExitCode: 1}, boot, 1, false, false},
		{"memory", container.State{StartedAt: at(1), FinishedAt: at(2), ExitCode: 137, OOMKilled: true}, boot, 137, false, true},
		{"ended before the boot", container.State{StartedAt: at(-9), FinishedAt: at(-8)}, boot, 0, false, false},
		{"power cut", container.State{StartedAt: at(-9), FinishedAt: at(1), ExitCode: 255}, boot, -1, true, false},
		{"power cut, no clock", container.State{StartedAt: at(-9), FinishedAt: at(-8), ExitCode: 255}, boot, -1, true, false},
		{"boot unknown", container.State{StartedAt: at(-9), FinishedAt: at(1), ExitCode: 255}, time.Time{}, 255, false, false},
		{"dead", container.State{StartedAt: at(1), FinishedAt: at(2), Dead: true}, boot, -1, true, false},
		{"end never noted", container.State{StartedAt: at(1), FinishedAt: never}, boot, -1, true, false},
	}
	for _, c := range cases {
		got := exitOf(&c.state, c.boot)
		if got.Code != c.code || got.Lost != c.lost || got.OOMKilled != c.oom || c.lost && got.Reason == "" {
			t.Errorf("%s: %+v, want code %d, lost %v", c.name, got, c.code, c.lost)
		}
	}
}

func TestBootTime(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "stat"), []byte("cpu 1 2\nbtime 1700000000\nprocesses 4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &Driver{cfg: Config{Host: "unix:///s", ProcRoot: root}}
	if got := d.bootTime(); got.Unix() != 1700000000 {
		t.Errorf("boot time %v", got)
	}
	d.cfg.Host = "tcp://10.0.0.1:2375"
	if got := d.bootTime(); !got.IsZero() {
		t.Errorf("boot time of another machine is %v, want unknown", got)
	}
}

func TestWantedImage(t *testing.T) {
	cases := []struct {
		ref    string
		moving bool
		fetch  bool
		ok     bool
	}{
		{"busybox", true, true, true},
		{"busybox:latest", true, true, true},
		{"ghcr.io/a/b:1.2", false, true, true},
		{"localhost:5000/a", true, true, true},
		{"a@sha256:" + strings.Repeat("a", 64), false, true, true},
		{"a:latest@sha256:" + strings.Repeat("a", 64), false, true, true},
		{"sha256:" + strings.Repeat("a", 64), false, false, true},
		{strings.Repeat("a", 64), false, false, true},
		{"", false, false, false},
		{"reg.example/UPPER", false, false, false},
		{"a b", false, false, false},
	}
	for _, c := range cases {
		w, err := wantedImage(drivers.Image{Reference: c.ref})
		if (err == nil) != c.ok || err == nil && (w.moving != c.moving || (w.named != nil) != c.fetch) {
			t.Errorf("%q: %+v, %v", c.ref, w, err)
		}
	}
}

func TestCheckDigest(t *testing.T) {
	a, b, other := strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64)
	img := image.InspectResponse{ID: "sha256:" + a, RepoDigests: []string{"r/x@sha256:" + b}}
	for sum, ok := range map[string]bool{"": true, a: true, b: true, other: false} {
		err := checkDigest(wanted{reference: "x", sha256: sum}, img)
		if (err == nil) != ok {
			t.Errorf("%.4s: %v", sum, err)
		}
		if err != nil && (!strings.Contains(err.Error(), other) || !strings.Contains(err.Error(), a)) {
			t.Errorf("the error names not both: %v", err)
		}
	}
}

func TestPullSum(t *testing.T) {
	msg := func(id, status string, cur, total int64) jsonstream.Message {
		m := jsonstream.Message{ID: id, Status: status}
		if total > 0 {
			m.Progress = &jsonstream.Progress{Current: cur, Total: total}
		}
		return m
	}
	sum := newPullSum()
	steps := []struct {
		msg  jsonstream.Message
		want drivers.Progress
	}{
		{msg("1", "Pulling from library/x", 0, 0), drivers.Progress{Phase: "pulling"}},
		{msg("a", "Pulling fs layer", 0, 0), drivers.Progress{Phase: "pulling"}},
		{msg("b", "Pulling fs layer", 0, 0), drivers.Progress{Phase: "pulling"}},
		{msg("c", "Already exists", 0, 0), drivers.Progress{Phase: "pulling"}},
		{msg("a", "Downloading", 10, 100), drivers.Progress{Phase: "pulling", Current: 10}},
		{msg("b", "Downloading", 20, 50), drivers.Progress{Phase: "pulling", Current: 30, Total: 150}},
		{msg("b", "Download complete", 0, 0), drivers.Progress{Phase: "pulling", Current: 60, Total: 150}},
		{msg("a", "Download complete", 0, 0), drivers.Progress{Phase: "unpacking", Total: 150}},
		{msg("a", "Extracting", 40, 100), drivers.Progress{Phase: "unpacking", Current: 40, Total: 150}},
		{msg("a", "Pull complete", 0, 0), drivers.Progress{Phase: "unpacking", Current: 100, Total: 150}},
		{msg("b", "Pull complete", 0, 0), drivers.Progress{Phase: "unpacking", Current: 150, Total: 150}},
	}
	for i, s := range steps {
		if d := cmp.Diff(s.want, sum.add(s.msg)); d != "" {
			t.Errorf("after message %d (-want +got):\n%s", i, d)
		}
	}
}

func TestPullErrorClasses(t *testing.T) {
	w, err := wantedImage(drivers.Image{Reference: "reg.example/a:1"})
	if err != nil {
		t.Fatal(err)
	}
	for text, class := range map[string]error{
		"manifest for reg.example/a:1 not found: manifest unknown":        drivers.ErrImage,
		"pull access denied for a, repository does not exist":             drivers.ErrDenied,
		"Head \"https://reg\": no basic auth credentials":                 drivers.ErrDenied,
		"Get \"https://reg/v2/\": dial tcp: lookup reg: no such host":     drivers.ErrImage,
		"failed to register layer: write /x: no space left on device":     drivers.ErrExhausted,
		"no matching manifest for linux/arm in the manifest list entries": drivers.ErrImage,
		"something new": drivers.ErrImage,
	} {
		err := pullError("create", "i", w, errors.New(text))
		if passes := strings.Contains(text, "no such host"); passes != errors.Is(err, drivers.ErrUnavailable) {
			t.Errorf("%q: %v; is it passing trouble? want %v", text, err, passes)
		}
		if !errors.Is(err, class) || !strings.Contains(err.Error(), "reg.example/a:1") || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v; want class %v", text, err, class)
		}
	}
}

func TestLimits(t *testing.T) {
	for millis, want := range map[int64][2]int64{0: {0, 0}, 1: {1_000_000, 1000}, 10: {100_000, 1000}, 1500: {100_000, 150_000}, 64_000: {100_000, 6_400_000}} {
		if r := limits(drivers.Resources{CPUMillis: millis}); r.CPUPeriod != want[0] || r.CPUQuota != want[1] {
			t.Errorf("%d: period %d, quota %d, want %v", millis, r.CPUPeriod, r.CPUQuota, want)
		}
	}
	if r := limits(drivers.Resources{MemoryBytes: 1 << 26}); r.Memory != 1<<26 || r.MemorySwap != 1<<26 {
		t.Errorf("swap is added to memory: %+v", r)
	}
}

func FuzzParseAuths(f *testing.F) {
	f.Add([]byte(`{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"r:5000":{"identitytoken":"t"}}}`))
	f.Add([]byte(`{"auths":{"x":{"auth":"!"}}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		all, err := parseAuths(in)
		if err != nil && all != nil {
			t.Fatal("both a result and an error")
		}
	})
}

func TestParseAuths(t *testing.T) {
	got, err := parseAuths([]byte(`{"auths":{"https://index.docker.io/v1/":{"auth":"dTpwOnE="},"r:5000":{"identitytoken":"t"},"empty":{}},"credsStore":"x"}`))
	want := map[string]Credentials{"docker.io": {Username: "u", Password: "p:q"}, "r:5000": {IdentityToken: "t"}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

func TestConfigRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"no agent": {}, "bad agent": {AgentID: "a b"}, "name": {AgentID: "a", Name: "lxc"},
		"scheme": {AgentID: "a", Host: "ftp://x"}, "no address": {AgentID: "a", Host: "unix://"},
	} {
		if _, err := c.withDefaults(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
