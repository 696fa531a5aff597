// Original file: proto/envoy/data/accesslog/v3/accesslog.proto


export interface TCPAccessLogEntry {
}

export interface TCPAccessLogEntry__Output {
}
