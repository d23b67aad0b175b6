package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edgeio/edgeio/drivers/mirage/solo5"
	"github.com/edgeio/edgeio/drivers/mirage/solo5/guest"
)

func TestImageInspect(t *testing.T) {
	dir := t.TempDir()
	devices := []solo5.Device{{Name: "service", Type: solo5.Net}, {Name: "storage", Type: solo5.Block}}
	image, script := filepath.Join(dir, "name.that-says-nothing"), filepath.Join(dir, "fake.hvt")
	for path, b := range map[string][]byte{image: guest.HVT(devices), script: []byte("#!/bin/sh\n")} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		app := newApp(&out, io.Discard)
		args = append([]string{"edgeagent", "image", "inspect"}, args...)
		err := app.RunContext(context.Background(), arrange(app.Commands, args))
		return out.String(), err
	}

	out, err := run(image)
	want := "Target        hvt\nABI version   2\nArchitecture  amd64\nMemory        1104 KiB and its stack and heap\nDevice        service (net)\nDevice        storage (block)\n"
	if d := cmp.Diff(want, out); err != nil || d != "" {
		t.Errorf("%v, %s", err, d)
	}
	out, err = run(image, "-o", "json")
	var got map[string]any
	if err != nil || json.Unmarshal([]byte(out), &got) != nil {
		t.Fatalf("%v, %s", err, out)
	}
	wantJSON := map[string]any{"target": "hvt", "abi_version": 2.0, "arch": "amd64", "memory_bytes": float64(1104 << 10), "devices": []any{
		map[string]any{"name": "service", "type": "net"}, map[string]any{"name": "storage", "type": "block"},
	}}
	if d := cmp.Diff(wantJSON, got); d != "" {
		t.Error(d)
	}
	for _, tt := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{script}, "not a Solo5 image", exitFailed},
		{[]string{dir + "/none"}, "no such file", exitFailed},
		{[]string{dir}, dir, exitFailed},
		{nil, "name one file", exitBadInput},
		{[]string{image, image}, "name one file", exitBadInput},
	} {
		if _, err := run(tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) || exitCode(err) != tt.code {
			t.Errorf("%q: %v, want %q and status %d", tt.args, err, tt.want, tt.code)
		}
	}
}
