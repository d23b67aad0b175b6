package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/edgeio/edgeio/drivers"
)

// Probe asks edgeshim for its version, and tries to write to the folder. If one
// of that fails, info says so.
func (k *Keeper) Probe(ctx context.Context, info *drivers.Info) (version string, ok bool) {
	version, err := k.version(ctx)
	if err != nil {
		info.Reason = fmt.Sprintf("edgeshim does not run: %v", err)
		info.Remedy = "install edgeshim beside edgeagent, or set its path in the configuration"
		return "", false
	}
	tmp, err := os.MkdirTemp(k.cfg.Dir, prefixNew)
	if err != nil {
		info.Reason = fmt.Sprintf("the folder for workloads cannot be written: %v", err)
		info.Remedy = "give edgeagent write access to " + k.cfg.Dir + ", and room on its disk"
		return version, false
	}
	_ = os.Remove(tmp)
	return version, true
}

// version asks edgeshim once; it is asked again after a failure.
func (k *Keeper) version(ctx context.Context) (string, error) {
	k.shimMu.Lock()
	known := k.shimVersion
	k.shimMu.Unlock()
	if known != "" {
		_, err := os.Stat(k.cfg.ShimPath)
		return known, err
	}
	out, err := exec.CommandContext(ctx, k.cfg.ShimPath, "--version").Output()
	if err != nil {
		return "", err
	}
	version, ok := strings.CutPrefix(strings.TrimSpace(string(out)), "edgeshim ")
	if !ok {
		return "", fmt.Errorf("%s is another program", k.cfg.ShimPath)
	}
	k.shimMu.Lock()
	k.shimVersion = version
	k.shimMu.Unlock()
	return version, nil
}
