package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edgeio/edgeio/agent/config"
	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/drivertest"
)

// TestDriverPrograms finds a driver in a folder, beside one that has the name
// of a driver that is built in and one that is switched off.
func TestDriverPrograms(t *testing.T) {
	_, err := exec.LookPath("python3")
	drivertest.Require(t, "python3", err == nil, "there is no python3")
	program, err := os.ReadFile("../../../drivers/external/example-python/edgedriver-process")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"process", "docker", "off"} {
		if err := os.WriteFile(filepath.Join(dir, "edgedriver-"+name), program, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	cfg := config.Default()
	cfg.StateDir, cfg.Drivers.Dir, cfg.Drivers.Disabled = t.TempDir(), dir, []string{"off", "native"}
	all := map[string]drivers.Driver{}
	addPrograms(all, setup{cfg: cfg, agentID: "a", log: slog.New(slog.NewTextHandler(&log, nil))})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	infos := probe(ctx, all)
	if err := closeDrivers(all); err != nil {
		t.Error(err)
	}
	if len(infos) != 1 || infos[0].Name != "process" || !infos[0].Usable || infos[0].Endpoint != filepath.Join(dir, "edgedriver-process") {
		t.Errorf("driver programs: %+v, want only process", infos)
	}
	if !strings.Contains(log.String(), "the agent has a driver of that name") || !strings.Contains(log.String(), "edgedriver-docker") {
		t.Errorf("no word of the program that is left out:\n%s", log.String())
	}
}
