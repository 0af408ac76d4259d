// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import scala.collection.mutable

import io.sparkmodel.wire.{ModelException, PoolClient, Schemas, Watch}
import org.apache.arrow.memory.BufferAllocator
import org.apache.arrow.vector.FieldVector
import org.apache.arrow.vector.types.pojo.Schema
import org.apache.spark.TaskContext
import org.apache.spark.sql.catalyst.expressions.{Attribute, BasePredicate, Predicate}
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
 */
class Scorer(
    val calls: Seq[ScoreCall],
    input: Seq[Attribute],
    keep: Seq[Attribute],
    timeZone: String,
    val isColumnar: Boolean,
    context: TaskContext,
    val metrics: ScoreMetrics) {

  private val memory = new TaskMemory(context)
  private val window = mutable.Queue.empty[Chunk]
  private var last: Chunk = _
  private var building: Chunk = _
  context.addTaskCompletionListener[Unit](_ => close())

  val plans: Seq[BatchPlan] = calls.map(c => new BatchPlan(c.arguments, c.arrowSchema, input, context.partitionId()))
  val guards: Seq[Option[BasePredicate]] = calls.map(_.guard.map { condition =>
    val predicate = Predicate.create(condition, input)
    predicate.initialize(context.partitionId())
    predicate
  })
  val clients: Seq[PoolClient] = calls.map(c => PoolClient.of(c.handle))
  val watch: Watch = () => CoreInternals.endIfKilled(context)
  private val depth = calls.map(_.options.limits.maxInFlight).max
  private val schemas = mutable.Map.empty[String, Schema]

  /** Places of the kept columns: what goes to a pool as it is need not be copied a second time. */
  val keptPlaces: Seq[KeptPlace] = {
    var alone = -1
    keep.map { attribute =>
      val ordinal = input.indexWhere(_.exprId == attribute.exprId)
      val shared = for {
        (call, i) <- calls.zipWithIndex.iterator if call.guard.isEmpty
        column <- plans(i).ordinals.indexOf(ordinal) match { case -1 => None; case found => Some(found) }
      } yield KeptInCall(i, column)
      shared.nextOption().getOrElse { alone += 1; KeptAlone(alone) }
    }
  }

  /** How the columns that no call takes are kept. */
  val kept: Option[BatchPlan] = {
    val alone = keep.zip(keptPlaces).collect { case (attribute, _: KeptAlone) => attribute }
    val schema = StructType(alone.zipWithIndex.map { case (a, i) => StructField(s"_$i", a.dataType) })
    def arrow = CatalystInternals.arrowSchema(schema, timeZone, calls.head.largeVarTypes)
    Option.when(alone.nonEmpty)(new BatchPlan(alone, arrow, input, context.partitionId()))
  }

  /** Size of a row as the last chunk had them, where rows are of various sizes. */
  var rowBytes: Long = BatchSize.UnknownRow

  def allocator: BufferAllocator = memory.allocator

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
    while (window.size < depth && send(collect)) {}
    Option.when(window.nonEmpty) {
      last = window.dequeue()
      (last, last.receive())
    }
  }

  private def send(collect: Chunk => Boolean): Boolean = {
    building = new Chunk(this)
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
