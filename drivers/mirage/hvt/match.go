package hvt

import (
	"errors"
	"fmt"

	"github.com/edgeio/edgeio/drivers/mirage/solo5"
)

// match pairs the devices of the manifest with those that were asked for. It
// opens nothing. The result is in the order of the manifest.
func match(manifest []solo5.Device, asked []Device) ([]Device, error) {
	byName := map[string]Device{}
	for _, d := range asked {
		byName[d.Name] = d
	}
	var problems []error
	matched := make([]Device, len(manifest))
	for i, want := range manifest {
		d, ok := byName[want.Name]
		delete(byName, want.Name)
		matched[i] = d
		switch {
		case !ok && want.Type == solo5.Net:
			problems = append(problems, fmt.Errorf("the image wants a net device %s: add --net:%s=TAP", want.Name, want.Name))
		case !ok:
			problems = append(problems, fmt.Errorf("the image wants a block device %s: add --block:%s=FILE", want.Name, want.Name))
		case (want.Type == solo5.Net) != (d.Tap != ""):
			problems = append(problems, fmt.Errorf("device %s is a %s device of the image, and is attached as the other kind", want.Name, want.Type))
		}
	}
	for _, d := range asked {
		if _, left := byName[d.Name]; left {
			problems = append(problems, fmt.Errorf("the image has no device %s", d.Name))
		}
	}
	return matched, errors.Join(problems...)
}
