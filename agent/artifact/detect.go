package artifact

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// kind is what a file is, told by its content: names lie.
type kind int

const (
	plain kind = iota // no archive: used as it is
	tarPlain
	tarGzip
	tarZstd
	zipped
)

// What archives begin with: gzip RFC 1952 §2.3.1, zstd RFC 8878 §3.1.1, zip
// APPNOTE §4.3.7. A tar header has its mark at 257 (POSIX ustar, and GNU's).
const (
	gzipMagic  = "\x1f\x8b\x08"
	zstdMagic  = "\x28\xb5\x2f\xfd"
	zipMagic   = "PK\x03\x04"
	tarMagic   = "ustar"
	tarMagicAt = 257
	tarBlock   = 512
)

func detect(path string) (kind, error) {
	f, err := os.Open(path)
	if err != nil {
		return plain, err
	}
	defer func() { _ = f.Close() }() // of a file that was only read
	return detectReader(f)
}

// detectReader reads the beginning of r. A compressed file that is not a tar
// archive is plain: a gzipped kernel, say.
func detectReader(r io.Reader) (kind, error) {
	buffered := bufio.NewReaderSize(r, 4096)
	head, err := buffered.Peek(tarBlock)
	if err != nil && !errors.Is(err, io.EOF) {
		return plain, err
	}
	compressed := plain
	var inner io.Reader
	switch {
	case isTar(head):
		return tarPlain, nil
	case strings.HasPrefix(string(head), zipMagic):
		return zipped, nil
	case strings.HasPrefix(string(head), gzipMagic):
		zr, err := gzip.NewReader(buffered)
		if err != nil {
			return plain, nil //nolint:nilerr // it only looks like gzip
		}
		compressed, inner = tarGzip, zr
	case strings.HasPrefix(string(head), zstdMagic):
		zr, err := newZstd(buffered)
		if err != nil {
			return plain, nil //nolint:nilerr // it only looks like zstd
		}
		defer zr.Close()
		compressed, inner = tarZstd, zr
	default:
		return plain, nil
	}
	block := make([]byte, tarBlock)
	if n, _ := io.ReadFull(inner, block); !isTar(block[:n]) { // too short or broken: no tar either
		return plain, nil
	}
	return compressed, nil
}

func isTar(block []byte) bool {
	return len(block) == tarBlock && strings.HasPrefix(string(block[tarMagicAt:]), tarMagic)
}

// newZstd bounds what a frame can make the decoder allocate.
func newZstd(r io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(64<<20), zstd.WithDecoderMaxMemory(256<<20))
}
