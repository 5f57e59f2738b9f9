package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
)

// message reads one HTTP/1.1 message; first is called as soon as a byte of its body is there.
func message(in *bufio.Reader, scratch []byte, first func()) (start string, body []byte, err error) {
	start, err = line(in)
	if err != nil {
		return "", nil, err
	}
	length, chunked := 0, false
	for {
		text, err := line(in)
		if err != nil {
			return start, nil, err
		}
		if text == "" {
			break
		}
		name, value, _ := strings.Cut(text, ":")
		switch {
		case strings.EqualFold(name, "content-length"):
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return start, nil, err
			}
		case strings.EqualFold(name, "transfer-encoding"):
			chunked = strings.Contains(strings.ToLower(value), "chunked")
		}
	}
	if !chunked {
		if length > cap(scratch) {
			scratch = make([]byte, length)
		}
		body = scratch[:length]
		if length > 0 && first != nil {
			if _, err := in.Peek(1); err != nil {
				return start, nil, err
			}
			first()
		}
		_, err = io.ReadFull(in, body)
		return start, body, err
	}
	body = scratch[:0]
	for {
		text, err := line(in)
		if err != nil {
			return start, nil, err
		}
		size, err := strconv.ParseInt(strings.TrimSpace(text), 16, 32)
		if err != nil {
			return start, nil, err
		}
		if size > 0 && first != nil {
			first()
			first = nil
		}
		from := len(body)
		body = append(body, make([]byte, size+2)...)
		if _, err = io.ReadFull(in, body[from:]); err != nil {
			return start, nil, err
		}
		body = body[:from+int(size)]
		if size == 0 {
			return start, body, nil
		}
	}
}

func line(in *bufio.Reader) (string, error) {
	text, err := in.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			return "", errors.New("a line is too long")
		}
		return "", err
	}
	return string(bytes.TrimRight(text, "\r\n")), nil
}
