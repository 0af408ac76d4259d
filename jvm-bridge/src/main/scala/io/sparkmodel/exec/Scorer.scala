// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import scala.collection.mutable
import scala.jdk.CollectionConverters._

import io.sparkmodel.wire.{Caller, ModelException, PoolClient, Schemas, StreamKey, Watch}
import org.apache.arrow.memory.BufferAllocator
import org.apache.arrow.vector.FieldVector
import org.apache.arrow.vector.types.pojo.Schema
import org.apache.spark.TaskContext
import org.apache.spark.sql.catalyst.expressions.Attribute
import org.apache.spark.sql.execution.python.sparkmodel.ScoringFailure
import org.apache.spark.sql.sparkmodel.{CatalystInternals, CoreInternals}
import org.apache.spark.sql.types.{StructField, StructType}
import org.apache.spark.sql.vectorized.{ArrowColumnVector, ColumnVector}

/**
 * One task of an operator: sends chunks ahead while earlier ones are computed, and takes them back in order.
 *
 * All that it holds is released when the task ends, however that is.
 *
 * @param keep columns of the input that are put out again from Arrow copies; empty where rows are kept
 * @param isRamping whether a few rows may be all that is wanted: the first chunks are small then
 */
class Scorer(
    val calls: Seq[ScoreCall],
    input: Seq[Attribute],
    keep: Seq[Attribute],
    timeZone: String,
    val isColumnar: Boolean,
    isRamping: Boolean,
    context: TaskContext,
    val metrics: ScoreMetrics) {

  private val memory = new TaskMemory(context)
  private val window = mutable.Queue.empty[Chunk]
  private var last: Chunk = _
  private var building: Chunk = _
  context.addTaskCompletionListener[Unit](_ => close())

  val clients: Seq[PoolClient] = calls.map(c => PoolClient.of(c.handle))

  /** Whose batches each call's are. */
  val callers: Seq[Caller] = {
    val partition = Some(context.partitionId())
    val first = new Caller(partition)
    first +: calls.tail.map(_ => new Caller(partition, Some(first)))
  }
  val watch: Watch = () => CoreInternals.endIfKilled(context)
  private lazy val query = QueryKey.of(context)
  private val streams = mutable.Map.empty[Int, StreamKey]
  private var chunkRows = if (isRamping) BatchSize.FirstRows else BatchSize.Rows
  private var isAnswered = !isRamping
  private val schemas = mutable.Map.empty[String, Schema]

  private val guards = calls.map(_.guard.map(_.canonicalized)).distinct ++ // all rows of a chunk are kept
    Option.when(keep.nonEmpty && !calls.exists(_.guard.isEmpty))(None)

  /** What the calls of one guard take, each column once. */
  val shares: Seq[SharePlan] = guards.map { guard =>
    new SharePlan(calls.flatMap(_.guard).find(one => guard.contains(one.canonicalized)), input, context.partitionId())
  }

  /** For each call its share. */
  val shareOf: Seq[Int] = calls.map(call => guards.indexOf(call.guard.map(_.canonicalized)))

  /** For each call the places of its arguments in the share. */
  val columnsOf: Seq[Seq[Int]] = calls.zip(shareOf).map { case (call, share) =>
    call.arguments.zip(call.arrowSchema.getFields.asScala).map { case (argument, field) =>
      shares(share).add(argument, field)
    }
  }

  /** Share and place of each column that is put out again. */
  val kept: Seq[(Int, Int)] = {
    val schema = StructType(keep.zipWithIndex.map { case (a, i) => StructField(s"_$i", a.dataType) })
    val fields = CatalystInternals.arrowSchema(schema, timeZone, calls.head.largeVarTypes).getFields.asScala
    keep.zip(fields).map { case (attribute, field) =>
      val share = guards.indexOf(None)
      share -> shares(share).add(attribute, field)
    }
  }

  /** Size of a row as the last chunk had them, where rows are of various sizes. */
  var rowBytes: Long = BatchSize.UnknownRow

  def allocator: BufferAllocator = memory.allocator

  /** What a call's batches are sent as: held to the version of all of its query, which is settled now. */
  def streamOf(index: Int): StreamKey = streams.getOrElseUpdate(index, {
    val call = calls(index)
    val (stream, options) = (call.streamOf(query), call.options)
    if (stream.call.query.isEmpty) stream
    else stream.copy(pin = Some(metrics.timed(metrics.waitTime) {
      failing(clients(index).pin(stream.call.query, stream.digest, options.limits, watch, options.timeoutS))
    }))
  })

  private def depth: Int =
    calls.zip(clients).map { case (call, client) => client.inForce(call.options.limits).maxInFlight }.max

  def schemaOf(text: String): Schema = schemas.getOrElseUpdate(text, Schemas.read(text))

  def wrap(vector: FieldVector): ColumnVector = new ArrowColumnVector(vector)

  /** A failure of the wire as the failure of a Python function, which is what callers without the bridge see. */
  def failing[T](body: => T): T =
    try body
    catch { case error: ModelException => throw ScoringFailure(error.getMessage, error) }

  /**
   * The next chunk in order, with its predictions; valid until the next call.
   *
   * @param collect fills a chunk with rows of the input; false if there are none left
   */
  def next(collect: Chunk => Boolean): Option[(Chunk, Seq[ColumnVector])] = {
    if (last != null) {
      last.close()
      last = null
    }
    val ahead = if (isAnswered) depth else 1
    while (window.size < ahead && send(collect)) {}
    isAnswered = true
    Option.when(window.nonEmpty) {
      last = window.dequeue()
      (last, last.receive())
    }
  }

  private def send(collect: Chunk => Boolean): Boolean = {
    building = new Chunk(this, chunkRows)
    chunkRows = math.min(2 * chunkRows, BatchSize.Rows)
    val any = collect(building)
    if (any) {
      building.send()
      window.enqueue(building)
    } else building.close()
    building = null
    any
  }

  private def close(): Unit = {
    (window ++ Option(building) ++ Option(last)).foreach(_.close())
    window.clear()
    memory.close()
  }
}
