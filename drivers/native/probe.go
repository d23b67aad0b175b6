package native

import (
	"context"
	"os"
	"slices"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/process"
)

// Probe implements drivers.Driver: it is usable if edgeshim runs and the
// folder can be written.
func (d *Driver) Probe(ctx context.Context) drivers.Info {
	info := drivers.Info{Name: name, Endpoint: d.Config().ShimPath, Features: d.features()}
	info.Version, info.Usable = d.Keeper.Probe(ctx, &info)
	if reason := d.Cgroups().Reason; info.Usable && reason != "" {
		info.Reason = "not all limits can be enforced: " + reason
		info.Remedy = process.RemedyCgroups
	}
	return info
}

func (d *Driver) features() []drivers.Feature {
	features := []drivers.Feature{
		drivers.FeatureDevices, drivers.FeatureExec, drivers.FeatureImageFile, drivers.FeaturePorts, drivers.FeatureStats, drivers.FeatureTTY,
	}
	for feature, can := range map[drivers.Feature]bool{
		drivers.FeatureLimitCPU:    d.Cgroups().CPU,
		drivers.FeatureLimitMemory: d.Cgroups().Memory,
		drivers.FeatureLimitPIDs:   d.Cgroups().PIDs,
		drivers.FeatureUser:        os.Geteuid() == 0,
	} {
		if can {
			features = append(features, feature)
		}
	}
	slices.Sort(features)
	return features
}
