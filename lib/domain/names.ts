/** Names that more than one runtime must agree on. A string literal of one of these elsewhere is a defect. */

/** Environment variables, as the user types them. */
export const ENV = {
  appName: 'APP_NAME',
  backupDir: 'BACKUP_DIR',
  dbHost: 'DB_HOST',
  dbPort: 'DB_PORT',
  dbName: 'DB_NAME',
  dbUser: 'DB_USER',
  dbPassword: 'DB_PASSWORD',
  s3Bucket: 'S3_BUCKET',
  s3Prefix: 'S3_PREFIX',
  s3StateBucket: 'S3_STATE_BUCKET',
  s3KmsKeyId: 'S3_KMS_KEY_ID',
  s3ForcePathStyle: 'S3_FORCE_PATH_STYLE',
  localRetentionDays: 'LOCAL_RETENTION_DAYS',
  s3RetentionDays: 'S3_RETENTION_DAYS',
  backupFormat: 'BACKUP_FORMAT',
  backupCompression: 'BACKUP_COMPRESSION',
  compressionLevel: 'BACKUP_COMPRESSION_LEVEL',
  backupKind: 'BACKUP_KIND',
  baseIncremental: 'BASE_INCREMENTAL',
  baseBackupFiles: 'BASE_BACKUP_FILES',
  restoreJobs: 'RESTORE_JOBS',
  maxBackupAgeHours: 'MAX_BACKUP_AGE_HOURS',
  pgBinDir: 'PG_BIN_DIR',
  slackWebhookUrl: 'SLACK_WEBHOOK_URL',
  emailTo: 'EMAIL_TO',
  emailFrom: 'EMAIL_FROM',
  smtpUrl: 'SMTP_URL',
  sendmailPath: 'SENDMAIL_PATH',
  snsTopicArn: 'SNS_TOPIC_ARN',
  walSlot: 'WAL_SLOT',
  walJournalSeconds: 'WAL_JOURNAL_SECONDS',
  walHeartbeatSeconds: 'WAL_HEARTBEAT_SECONDS',
  walSlotCap: 'WAL_SLOT_CAP',
  maxWalLagSeconds: 'MAX_WAL_LAG_SECONDS',
  runId: 'LIFEBOAT_RUN_ID',
} as const;

/** User metadata on S3 objects (`x-amz-meta-…`); tells our own unfinished dumps from those of the user's old scripts. */
export const OBJECT_METADATA = { runId: 'lifeboat-run-id', app: 'lifeboat-app' } as const;

/** Tags that only the watcher or an operator sets; the bucket's lifecycle removes what carries `expirable`. */
export const OBJECT_TAG = {
  expirable: { key: 'lifeboat', value: 'expirable' },
  pinned: 'lifeboat-pin',
} as const;

/** Environment variables of the Lambdas; constructs set them, each handler's environment.ts reads them. */
export const LAMBDA_ENV = {
  bucket: 'LIFEBOAT_BUCKET',
  stateBucket: 'LIFEBOAT_STATE_BUCKET',
  topicArn: 'LIFEBOAT_TOPIC_ARN',
  backupDocument: 'LIFEBOAT_BACKUP_DOCUMENT',
  restoreDocument: 'LIFEBOAT_RESTORE_DOCUMENT',
  commandLogGroup: 'LIFEBOAT_COMMAND_LOG_GROUP',
  slackParameter: 'LIFEBOAT_SLACK_PARAMETER',
  dashboardUrl: 'LIFEBOAT_DASHBOARD_URL',
  startRunFunction: 'LIFEBOAT_START_RUN_FUNCTION',
  restoreFunction: 'LIFEBOAT_RESTORE_FUNCTION',
} as const;

/**
 * Set by tests and the local loop alone, never by a construct: the origin (`http://127.0.0.1:PORT`) of what stands in for
 * Slack. The slack Lambda then posts there as well as to Slack; it refuses any origin that is not on this machine.
 */
export const LAMBDA_TEST_ENV = { slackOrigin: 'LIFEBOAT_TEST_SLACK_ORIGIN' } as const;

/** Beside every handler's bundle lies the deployment's configuration (lib/domain/deployment/config.ts). */
export const DEPLOYMENT_FILE = 'deployment.json';

/** The SSM documents' one parameter. */
export const DOCUMENT_PARAMETER = 'Request';

/** The step of both documents that runs the agent: GetCommandInvocation wants it as PluginName where there are several. */
export const DOCUMENT_STEP = 'runAgent';

/** Printed by the Lambdas in CloudWatch's embedded metric format; alarms and dashboard read them. */
export const METRIC_NAMESPACE = 'Lifeboat';
export const METRIC_DIMENSION = {
  deployment: 'Deployment',
  app: 'App',
  host: 'Host',
  function: 'Function',
} as const;
export const METRIC = {
  /** Seconds since the newest verified backup was finished, from what lies in S3: that tonight's has not come. */
  backupAge: 'BackupAgeSeconds',
  /** Seconds since the newest verified backup was begun: what of the data would be lost now. */
  recoveryPointAge: 'RecoveryPointAgeSeconds',
  /** Where there is point-in-time recovery: seconds since the latest restorable instant, by the commits in S3. */
  restorableAge: 'LatestRestorableAgeSeconds',
  /** From the earliest to the latest restorable instant. */
  restorableWindow: 'RestorableWindowSeconds',
  /** Since the newest good base backup was finished. */
  baseBackupAge: 'BaseBackupAgeSeconds',
  /** Stretches of WAL that are missing, and that no base backup has left behind. */
  recoveryHoles: 'UnhealedHoles',
  /** Since S3 received WAL last, a segment or a piece of the open one. */
  walSilence: 'WalSilenceSeconds',
  backupBytes: 'BackupBytes',
  backupSeconds: 'BackupDurationSeconds',
  baseBackupBytes: 'BaseBackupBytes',
  baseBackupSeconds: 'BaseBackupDurationSeconds',
  /** The newest backup's size against the median of the seven before it. */
  sizeRatio: 'BackupSizeRatio',
  runFailed: 'RunFailed',
  runSucceeded: 'RunSucceeded',
  /** Of a run that is at work: the share of its time that is over. */
  runningShare: 'RunningShareOfTimeout',
  hostUnreachable: 'HostUnreachable',
  expirableObjects: 'ObjectsTaggedExpirable',
  restoreSeconds: 'RestoreDurationSeconds',
  /** Of a function that people invoke: it failed, and not because of what it was asked. */
  functionFailed: 'FunctionFailed',
} as const;
