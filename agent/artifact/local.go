package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/edgeio/edgeio/drivers"
)

// localSource is a path on the node.
type localSource struct {
	c    *Cache
	path string
}

func (s localSource) fetch(ctx context.Context, image drivers.Image, report func(drivers.Progress)) (result, error) {
	info, err := os.Stat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return result{}, classed(drivers.ErrImage, "there is no such file on this node")
	case errors.Is(err, fs.ErrPermission):
		return result{}, classed(drivers.ErrDenied, "the agent may not read it: %w", err)
	case err != nil:
		return result{}, classed(drivers.ErrImage, "%w", err)
	case info.IsDir() && image.SHA256 != "":
		return result{}, classed(drivers.ErrInvalid, "a folder has no checksum; leave the checksum out, or use an archive")
	case info.IsDir():
		return result{path: s.path}, nil
	case !info.Mode().IsRegular():
		return result{}, classed(drivers.ErrImage, "it is neither a file nor a folder")
	}
	kind, err := detect(s.path)
	if err != nil || (kind == plain && image.SHA256 == "") {
		return result{path: s.path}, err
	}
	digest, err := fileDigest(ctx, s.path, info.Size(), report)
	if err != nil {
		return result{}, err
	}
	if image.SHA256 != "" && digest != image.SHA256 {
		return result{}, wrongChecksum(image.SHA256, digest)
	}
	if kind == plain {
		return result{path: s.path}, nil
	}
	if s.c.has(digest) {
		return result{digest: digest}, nil
	}
	return result{digest: digest}, s.c.publish(ctx, digest, s.path, false, report)
}

func fileDigest(ctx context.Context, path string, size int64, report func(drivers.Progress)) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // of a file that was only read
	sum := sha256.New()
	buf := make([]byte, 256<<10)
	var done int64
	for {
		n, err := f.Read(buf)
		sum.Write(buf[:n])
		done += int64(n)
		report(drivers.Progress{Phase: "verifying", Current: done, Total: size})
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case err == io.EOF:
			return hex.EncodeToString(sum.Sum(nil)), nil
		case err != nil:
			return "", err
		}
	}
}
