package docker

import (
	"context"
	"encoding/json"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/edgeio/edgeio/drivers"
)

// Stats implements drivers.StatsReader.
func (d *Driver) Stats(ctx context.Context, h drivers.Handle) (drivers.Stats, error) {
	const op = "stats"
	id, err := d.containerOf(op, h)
	if err != nil {
		return drivers.Stats{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.QueryTimeout)
	defer cancel()
	res, err := d.api.Load().ContainerStats(ctx, id, client.ContainerStatsOptions{})
	if err != nil {
		return drivers.Stats{}, d.fail(ctx, op, h.ID, err)
	}
	defer res.Body.Close()
	var raw container.StatsResponse
	if err := json.NewDecoder(res.Body).Decode(&raw); err != nil {
		return drivers.Stats{}, d.fail(ctx, op, h.ID, err)
	}
	if raw.Read.Year() <= 1 || raw.CPUStats.CPUUsage.TotalUsage == 0 && raw.MemoryStats.Usage == 0 {
		return drivers.Stats{}, drivers.Errorf(drivers.ErrConflict, op, h.ID, "it is not running")
	}
	return statsOf(raw), nil
}

func statsOf(raw container.StatsResponse) drivers.Stats {
	s := drivers.Stats{
		At:          raw.Read,
		CPUTime:     time.Duration(raw.CPUStats.CPUUsage.TotalUsage),
		MemoryBytes: int64(memoryInUse(raw.MemoryStats)),
		PIDs:        int64(raw.PidsStats.Current),
	}
	for _, n := range raw.Networks {
		s.NetworkRxBytes += int64(n.RxBytes)
		s.NetworkTxBytes += int64(n.TxBytes)
	}
	return s
}

// memoryInUse leaves out file pages that the kernel can drop at any time, as
// `docker stats` does. The counter is named differently by cgroup v1 and v2.
func memoryInUse(m container.MemoryStats) uint64 {
	for _, name := range []string{"total_inactive_file", "inactive_file"} {
		if cache, ok := m.Stats[name]; ok && cache < m.Usage {
			return m.Usage - cache
		}
	}
	return m.Usage
}
