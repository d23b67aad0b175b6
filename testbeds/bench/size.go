package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const sizeTargetMiB = 20

// measureSize builds the agent as it is shipped, for each kind of machine.
func measureSize(ctx context.Context, b *bench) (figures []figure, err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, arch := range []string{"amd64", "arm64", "arm"} {
		path := filepath.Join(dir, arch)
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "github.com/edgeio/edgeio/agent/cmd/edgeagent")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOARM=6")
		if out, err := cmd.CombinedOutput(); err != nil {
			return figures, fmt.Errorf("build edgeagent for %s: %w\n%s", arch, err, out)
		}
		info, err := os.Stat(path)
		if err != nil {
			return figures, err
		}
		figures = append(figures, atMost("agent: program, linux "+arch, float64(info.Size())/(1<<20), "MiB", sizeTargetMiB))
	}
	return figures, nil
}
