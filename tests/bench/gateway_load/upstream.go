package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"net"
	"strings"
)

const events = 16

// upstream answers every POST like OpenAI's chat completions, at once; streams where the body asks for it.
func upstream(arguments []string) {
	flags := flag.NewFlagSet("upstream", flag.ExitOnError)
	ports := flags.Int("ports", 1, "how many ports to listen on")
	size := flags.Int("size", 1024, "bytes of a plain answer's body")
	if err := flags.Parse(arguments); err != nil {
		fail(err.Error())
	}
	plain, stream := plainAnswer(*size), streamAnswer()
	var at []string
	for range *ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fail(err.Error())
		}
		at = append(at, fmt.Sprint(listener.Addr().(*net.TCPAddr).Port))
		go accept(listener, plain, stream)
	}
	fmt.Println(strings.Join(at, " "))
	select {}
}

func accept(listener net.Listener, plain []byte, stream [][]byte) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			fail(err.Error())
		}
		go serve(connection, plain, stream)
	}
}

func serve(connection net.Conn, plain []byte, stream [][]byte) {
	defer connection.Close()
	in := bufio.NewReaderSize(connection, 16<<10)
	scratch := make([]byte, 0, 16<<10)
	for {
		_, body, err := message(in, scratch, nil)
		if err != nil {
			return
		}
		if !bytes.Contains(body, []byte(`"stream":true`)) && !bytes.Contains(body, []byte(`"stream": true`)) {
			if _, err = connection.Write(plain); err != nil {
				return
			}
			continue
		}
		for _, part := range stream {
			if _, err = connection.Write(part); err != nil {
				return
			}
		}
	}
}

func plainAnswer(size int) []byte {
	head := `{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"bench","choices":[{"index":0,` +
		`"message":{"role":"assistant","content":"`
	tail := `"},"logprobs":null,"finish_reason":"stop"}],` +
		`"usage":{"prompt_tokens":100,"completion_tokens":100,"total_tokens":200}}`
	body := head + strings.Repeat("x", max(0, size-len(head)-len(tail))) + tail
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", len(body), body)
}

func streamAnswer() [][]byte {
	chunk := func(text string) []byte { return fmt.Appendf(nil, "%x\r\n%s\r\n", len(text), text) }
	event := func(delta, reason string) string {
		return fmt.Sprintf(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"bench",`+
			`"choices":[{"index":0,"delta":%s,"finish_reason":%s}]}`+"\n\n", delta, reason)
	}
	head := "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
	parts := [][]byte{append([]byte(head), chunk(event(`{"role":"assistant","content":""}`, "null"))...)}
	for range events {
		parts = append(parts, chunk(event(`{"content":"word "}`, "null")))
	}
	return append(parts, append(chunk(event(`{}`, `"stop"`)+"data: [DONE]\n\n"), "0\r\n\r\n"...))
}
