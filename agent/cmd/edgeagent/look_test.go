package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/edgeio/edgeio/agent/doctor"
	"github.com/edgeio/edgeio/capabilities"
	"github.com/edgeio/edgeio/capabilities/hosttest"
)

// look runs a command of ours in this process.
func look(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	args = append(args, "--state-dir", filepath.Join(t.TempDir(), "none"))
	err := newApp(&out, &out).RunContext(t.Context(), append([]string{"edgeagent"}, args...))
	return out.String(), err
}

func TestCapabilitiesOfAnotherRoot(t *testing.T) {
	root := t.TempDir()
	if err := hosttest.Write(root, "jetson-agx-xavier"); err != nil {
		t.Fatal(err)
	}
	out, err := look(t, "capabilities", "--host-root", root)
	if err != nil {
		t.Fatal(err)
	}
	last := -1
	for _, want := range []string{
		"Machine\n", "jetson-agx-xavier", "L4T 35.4.1 JetPack 5.1.2", "Processor and memory\n", "arm64/v8", "Carmel", "32 GB",
		"Disks\n", "nvme0n1", "Network\n", "10.1.0.20/16", "Devices\n", "gpu", "Xavier GPU (Volta, GV11B)", "/dev/nvhost-gpu", "NVDLA",
	} {
		at := strings.Index(out, want)
		if at <= last {
			t.Errorf("no %q, or not in its place:\n%s", want, out)
		}
		last = max(last, at)
	}
	for format, decode := range map[string]func(string, *capabilities.Report) error{
		"json": func(s string, r *capabilities.Report) error { return json.Unmarshal([]byte(s), r) },
		"yaml": func(s string, r *capabilities.Report) error {
			text, err := yaml.YAMLToJSON([]byte(s))
			if err != nil {
				return err
			}
			return json.Unmarshal(text, r)
		},
	} {
		out, err := look(t, "capabilities", "--host-root", root, "-o", format)
		if err != nil {
			t.Fatal(err)
		}
		var r capabilities.Report
		if err := decode(out, &r); err != nil || r.Board.ID != "jetson-agx-xavier" || len(r.Devices) < 5 || r.KVM.Works != "" {
			t.Errorf("%s: %v, %+v", format, err, r)
		}
	}
}

func TestCapabilitiesRefuses(t *testing.T) {
	for _, args := range [][]string{{"-o", "xml"}, {"--host-root", "/no/such/folder"}} {
		if _, err := look(t, append([]string{"capabilities"}, args...)...); exitCode(err) != exitBadInput {
			t.Errorf("%v: %v, want bad input", args, err)
		}
	}
}

func TestDoctorOfANodeThatHasNotJoined(t *testing.T) {
	out, err := look(t, "doctor", "-o", "json", "--parent", "127.0.0.1:nonsense")
	if err == nil || exitCode(err) != exitFailed {
		t.Errorf("%v, want exit code 1", err)
	}
	var findings []doctor.Finding
	if err := json.Unmarshal([]byte(out), &findings); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	levels := map[string]doctor.Level{}
	for _, f := range findings {
		levels[f.Check] = f.Level
		if f.Level != doctor.OK && (f.Remedy == "" || f.Detail == "") {
			t.Errorf("%+v says too little", f)
		}
	}
	if levels["identity"] != doctor.Fail || levels["parent 127.0.0.1:nonsense"] != doctor.Fail || levels["disk"] == "" || levels["runtime native"] == "" {
		t.Errorf("findings %+v", findings)
	}
}

// A look at a machine leaves nothing behind.
func TestDoctorMakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var out bytes.Buffer
	_ = newApp(&out, &out).RunContext(t.Context(), []string{"edgeagent", "doctor", "--state-dir", dir}) // that it fails is tested above
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is there after it: %v", dir, err)
	}
}
