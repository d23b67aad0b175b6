package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const sample = "../../packaging/edgeagent.yaml"

// TestSampleShowsEverything holds the one commented sample to the settings
// that there are, and to their defaults.
func TestSampleShowsEverything(t *testing.T) {
	data, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	c := Default()
	if err := decode(&c, sample, data); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Errorf("not valid: %v", err)
	}
	for _, name := range settingNames(reflect.TypeFor[Config]()) {
		if !regexp.MustCompile(`(?m)^\s*` + name + `:`).Match(data) {
			t.Errorf("%s does not show %s", sample, name)
		}
	}
	// What has a default is shown with it; these have examples.
	d := Default()
	c.Name, c.Parents, c.Labels, c.Registries = d.Name, d.Parents, d.Labels, d.Registries
	c.Drivers.Disabled, c.Taints, c.Devices = d.Drivers.Disabled, d.Taints, d.Devices
	if diff := cmp.Diff(d, c); diff != "" {
		t.Errorf("%s does not show the defaults (-default +sample):\n%s", sample, diff)
	}
}

func settingNames(t reflect.Type) []string {
	var out []string
	for f := range t.Fields() {
		out = append(out, f.Tag.Get("yaml"))
		switch {
		case f.Type.Kind() == reflect.Struct:
			out = append(out, settingNames(f.Type)...)
		case f.Type.Kind() == reflect.Map && f.Type.Elem().Kind() == reflect.Struct:
			out = append(out, settingNames(f.Type.Elem())...)
		}
	}
	return out
}

func TestAllProblemsAtOnce(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"unknown, wrong and double", "nam: x\nlog:\n  level: 7\n  fromat: text\nreserve: none\nparents: a:1\nname: a\nname: b\n", `f:1:1: nam: unknown; known here: name, state_dir, parents, labels, taints, devices, usage_interval, log, reserve, images, registries, drivers
f:4:3: log.fromat: unknown; known here: level, format
f:5:10: reserve: want a mapping
f:6:10: parents: want a list
f:8:1: name: given twice`},
		{"numbers", "usage_interval: 15\nreserve:\n  cpu: much\n  disk_mb: 1.5\n", `f:1:17: usage_interval: "15": want a duration such as 15s or 1m30s
f:3:8: reserve.cpu: "much": want a number
f:4:12: reserve.disk_mb: "1.5": want a whole number`},
		{"yes or no", "drivers:\n  mirage:\n    emulation: maybe\n", `f:3:16: drivers.mirage.emulation: "maybe": want true or false`},
		{"not YAML", "name: [a\n", `this is not YAML`},
		{"anchors", "name: &a x\n", `anchors, aliases and tags are not supported`},
		{"a list", "- a\n", `want a mapping`},
		{"two documents", "name: a\n---\nname: b\n", `want one document only`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Default()
			err := decode(&cfg, "f", []byte(c.file))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got:\n%v\nwant:\n%s", err, c.want)
			}
		})
	}
}

func TestEmptyFileIsTheDefaults(t *testing.T) {
	for _, file := range []string{"", "# nothing\n", "name:\nlog:\n"} {
		c := Default()
		if err := decode(&c, "f", []byte(file)); err != nil {
			t.Errorf("%q: %v", file, err)
		}
		if diff := cmp.Diff(Default(), c); diff != "" {
			t.Errorf("%q:\n%s", file, diff)
		}
	}
}

func TestEnvironmentWinsOverFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(file, []byte("name: file\nlog: {level: warn}\nusage_interval: 20s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file, []string{
		"PATH=/bin", "EDGEAGENT_NAME=env", "EDGEAGENT_PARENTS=a:1, b:2", "EDGEAGENT_LABELS=k=v,l=w=x",
		"EDGEAGENT_RESERVE_MEMORY_MB=100", "EDGEAGENT_DRIVERS_NATIVE_SHIM=/x", "EDGEAGENT_TOKEN=secret",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Name, want.Log.Level, want.UsageInterval = "env", "warn", 20*time.Second
	want.Parents, want.Labels = []string{"a:1", "b:2"}, map[string]string{"k": "v", "l": "w=x"}
	want.Reserve.MemoryMB, want.Drivers.Native.Shim = 100, "/x"
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}

	_, err = Load(file, []string{"EDGEAGENT_NAMES=x", "EDGEAGENT_RESERVE_CPU=x"})
	if err == nil || !strings.Contains(err.Error(), "EDGEAGENT_NAMES") || !strings.Contains(err.Error(), "EDGEAGENT_RESERVE_CPU") {
		t.Errorf("got %v, want both problems", err)
	}
}

func TestMissingFile(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml"), nil); err == nil {
		t.Error("a file that was named may be missing")
	}
}

func TestValidate(t *testing.T) {
	c := Default()
	c.Name, c.StateDir, c.Parents, c.UsageInterval = "a b", "relative", []string{"host"}, 0
	c.Log = Log{Level: "loud", Format: "xml"}
	c.Reserve.DiskMB, c.Drivers.Dir = -1, "relative"
	c.Labels, c.Taints, c.Devices.Shared = map[string]string{"edgeio.dev/board": "mine"}, []string{"ok", "a b", "a:no_execute"}, []string{""}
	c.Registries = map[string]Registry{"r": {Username: "u"}}
	err := c.Validate()
	if err == nil {
		t.Fatal("valid")
	}
	for _, field := range []string{"name", "state_dir", "parents[0]", "usage_interval", "labels", "taints[1]", "taints[2]", "devices.shared[0]", "log.level", "log.format", "reserve.disk_mb", "drivers.dir", "registries.r"} {
		if !strings.Contains(err.Error(), field+": ") {
			t.Errorf("no word of %s in:\n%v", field, err)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	data, err := os.ReadFile(sample)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("labels: {a: [b]}\nname: |\n  x\n"))
	f.Add([]byte("? a\n: b\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 10_000 {
			return
		}
		c := Default()
		if decode(&c, "f", data) == nil {
			_ = c.Validate()
		}
	})
}
