package native

import (
	"context"

	"github.com/edgeio/edgeio/drivers"
)

var _ drivers.Trier = (*Driver)(nil)

// Trial implements drivers.Trier with edgeshim itself, which any node has.
func (d *Driver) Trial(context.Context) (drivers.Spec, func(context.Context) error, error) {
	spec := drivers.Spec{Image: drivers.Image{Path: d.ShimPath()}, Args: []string{"--version"}}
	return spec, func(context.Context) error { return nil }, nil
}
