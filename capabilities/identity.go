package capabilities

import (
	"context"
	"errors"
)

// identity finds what tells this host from others and this boot from the last.
type identity struct{}

func (identity) Name() string { return "identity" }

func (identity) Probe(_ context.Context, h Host) (func(*Report), error) {
	hostname, err := h.line("proc/sys/kernel/hostname")
	if name, etcErr := h.line("etc/hostname"); etcErr == nil && !h.isLive() {
		hostname, err = name, nil // in a container /proc tells the container's
	}
	boot, bootErr := h.line("proc/sys/kernel/random/boot_id")
	return func(r *Report) { r.Hostname, r.BootID = hostname, boot }, errors.Join(err, bootErr)
}
