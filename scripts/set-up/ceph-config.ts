interface ClusterFacts {
  readonly folder: string;
  readonly clusterId: string;
  readonly port: number;
  readonly monitorPort: number;
  readonly messengerPort: number;
}

const DISK_BYTES = 12 * 1024 ** 3;

/** A cluster of one of each on loopback; the lines that are not obvious say why they are there. */
export function cephConfig({ folder, clusterId, port, monitorPort, messengerPort }: ClusterFacts): string {
  return `[global]
fsid = ${clusterId}
mon_host = [v2:127.0.0.1:${messengerPort},v1:127.0.0.1:${monitorPort}]
public_network = 127.0.0.0/8
cluster_network = 127.0.0.0/8
# radosgw 16 loops for ever on "none"
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
keyring = ${folder}/keyring
run_dir = ${folder}/run
admin_socket = ${folder}/run/$name.asok
log_file = ${folder}/$name.log
pid_file =
crash_dir = ${folder}/run
mon_cluster_log_file = /dev/null
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_max_pg_per_osd = 1000
osd_crush_chooseleaf_type = 0

[mon.a]
mon_data = ${folder}/mon
mon_data_avail_warn = 1
mon_data_avail_crit = 1

[osd.0]
# here and not in [global], where it makes the monitor ignore its port
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
osd_data = ${folder}/osd
osd_objectstore = bluestore
# a sparse file: only what is written takes room
bluestore_block_size = ${DISK_BYTES}
bluestore_block_create = true
bluestore_block_wal_size = 0
bluestore_block_db_size = 0
osd_memory_target = 1073741824
osd_op_num_shards = 2

[client.rgw]
rgw_data = ${folder}/rgw
# without tcp_nodelay every small call takes 44 ms
rgw_frontends = beast endpoint=127.0.0.1:${port} tcp_nodelay=1
# AES256 over plain http
rgw_crypt_require_ssl = false
rgw_thread_pool_size = 64
rgw_enable_usage_log = false
`;
}
