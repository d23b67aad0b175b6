package native

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/edgeio/edgeio/drivers"
)

// Probe implements drivers.Driver: it is usable if edgeshim runs and the
// folder can be written.
func (d *Driver) Probe(ctx context.Context) drivers.Info {
	info := drivers.Info{Name: name, Endpoint: d.cfg.ShimPath, Features: d.features()}
	version, err := d.version(ctx)
	if err != nil {
		info.Reason = fmt.Sprintf("edgeshim does not run: %v", err)
		info.Remedy = "install edgeshim beside edgeagent, or set its path in the configuration"
		return info
	}
	info.Version = version
	tmp, err := os.MkdirTemp(d.cfg.Dir, prefixNew)
	if err != nil {
		info.Reason = fmt.Sprintf("the folder for workloads cannot be written: %v", err)
		info.Remedy = "give edgeagent write access to " + d.cfg.Dir + ", and room on its disk"
		return info
	}
	_ = os.Remove(tmp)
	info.Usable = true
	if d.cgroups.Reason != "" {
		info.Reason = "not all limits can be enforced: " + d.cgroups.Reason
		info.Remedy = remedyCgroups
	}
	return info
}

func (d *Driver) features() []drivers.Feature {
	features := []drivers.Feature{
		drivers.FeatureDevices, drivers.FeatureExec, drivers.FeatureImageFile, drivers.FeaturePorts, drivers.FeatureStats, drivers.FeatureTTY,
	}
	for feature, can := range map[drivers.Feature]bool{
		drivers.FeatureLimitCPU:    d.cgroups.CPU,
		drivers.FeatureLimitMemory: d.cgroups.Memory,
		drivers.FeatureLimitPIDs:   d.cgroups.PIDs,
		drivers.FeatureUser:        os.Geteuid() == 0,
	} {
		if can {
			features = append(features, feature)
		}
	}
	slices.Sort(features)
	return features
}

// version asks edgeshim once; it is asked again after a failure.
func (d *Driver) version(ctx context.Context) (string, error) {
	d.shimMu.Lock()
	known := d.shimVersion
	d.shimMu.Unlock()
	if known != "" {
		_, err := os.Stat(d.cfg.ShimPath)
		return known, err
	}
	out, err := exec.CommandContext(ctx, d.cfg.ShimPath, "--version").Output()
	if err != nil {
		return "", err
	}
	version, ok := strings.CutPrefix(strings.TrimSpace(string(out)), "edgeshim ")
	if !ok {
		return "", fmt.Errorf("%s is another program", d.cfg.ShimPath)
	}
	d.shimMu.Lock()
	d.shimVersion = version
	d.shimMu.Unlock()
	return version, nil
}
