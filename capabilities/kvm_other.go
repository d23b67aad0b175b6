//go:build !linux || (!amd64 && !arm64)

package capabilities

import (
	"context"
	"errors"
)

func runTinyVM(context.Context) error { return errors.ErrUnsupported }
