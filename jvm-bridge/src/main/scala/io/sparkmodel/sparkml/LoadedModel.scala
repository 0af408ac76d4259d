// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.sparkml

import java.util.{LinkedHashMap => JLinkedHashMap, Map => JMap}

import scala.util.control.NonFatal

import io.sparkmodel.wire.ModelException
import org.apache.spark.ml.linalg.SQLDataTypes.VectorType
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.catalyst.expressions.{Expression, NamedExpression}
import org.apache.spark.sql.sparkmodel.CatalystInternals
import org.apache.spark.sql.types._

/** A model in memory; its programs, one for each list of argument types that was seen. */
private[sparkml] class LoadedModel(
    spark: SparkSession,
    name: String,
    path: String,
    saved: SavedModel,
    declared: Option[StructType],
    output: String)
  extends SparkMlModel {
  private val stages = Columns.stages(saved.model)
  private val guessed = Columns.needed(spark, stages, StructType(Nil))
  private val programs = new JLinkedHashMap[Seq[Any], Program](16, 0.75f, true) {
    override def removeEldestEntry(eldest: JMap.Entry[Seq[Any], Program]): Boolean = size > LoadedModel.Kept
  }

  override val inputs: StructType = declared.getOrElse(guessed)
  // an array is declared where DDL has no word for a vector
  private val types: Seq[DataType] = inputs.map { field =>
    val needed = guessed.find(_.name == field.name).map(_.dataType)
    if (needed.contains(VectorType) && Compiler.converts(field.dataType, VectorType)) VectorType else field.dataType
  }
  val outputs: Outputs =
    Outputs.of(stages, StructType(inputs.zip(types).map { case (field, to) => field.copy(dataType = to) }))
  private lazy val checked: Program = program(inputs)

  override def result: DataType = checked.dataType

  /** Throws if it cannot be a function. */
  def check(): Unit =
    try checked
    catch {
      case error: ModelException if error.condition == "SCHEMA_MISMATCH" =>
        val fact = s"it does not accept the columns ${LoadedModel.columns(inputs)}: ${error.getCause.getMessage}"
        if (declared.nonEmpty) {
          throw new ModelException(
            "INVALID_OPTION",
            s"Cannot load model '$name' with option 'input'",
            fact,
            s"it seems to need ${LoadedModel.columns(guessed)}",
            cause = error.getCause)
        }
        throw new ModelException(
          "UNSUPPORTED_SOURCE",
          s"Cannot make a function of model '$name'",
          fact,
          "tell its columns' types with the option 'input'",
          cause = error.getCause)
    }

  override val description: Map[String, String] = Map(
    "class" -> saved.model.getClass.getName,
    "uid" -> saved.model.uid,
    "stages" -> stages.map(stage => s"${stage.getClass.getSimpleName} ${stage.uid}").mkString(", "),
    "inputs" -> LoadedModel.columns(inputs),
    "location" -> path,
    "output" -> output,
    "outputs" -> outputs.words.mkString(", "),
    "saved with Spark" -> saved.savedBy)

  override def call(arguments: Seq[Expression]): Expression = {
    if (arguments.size != inputs.size) {
      throw mismatch(s"${arguments.size} ${if (arguments.size == 1) "argument is" else "arguments are"} given", null)
    }
    val offered = StructType(inputs.zip(arguments).map { case (field, argument) =>
      val metadata = argument match {
        case column: NamedExpression if column.resolved => column.metadata
        case _ => Metadata.empty
      }
      StructField(field.name, argument.dataType, nullable = true, metadata)
    })
    SparkMlCall(name, program(offered), arguments)
  }

  private def program(offered: StructType): Program = {
    val key: Seq[Any] = offered.map(field => (field.dataType, field.metadata)) ++ CatalystInternals.settings
    programs.synchronized {
      Option(programs.get(key)).getOrElse {
        val made = attempt(offered)
        programs.put(key, made)
        made
      }
    }
  }

  private def attempt(offered: StructType): Program = {
    val all = offered.map(_.dataType).zip(types)
    // the model's types where the user told them or the call's say nothing; else the call's own come first
    val own = all.map { case (from, to) =>
      val must = declared.nonEmpty || from == NullType || to == VectorType
      if (must && Compiler.converts(from, to)) to else from
    }
    val active = SparkSession.getActiveSession.getOrElse(spark)
    def compile(wanted: Seq[DataType]): Program =
      Compiler.compile(active, name, stages, offered, wanted, outputs.column(output).get)
    val needed = all.map { case (from, to) => if (Compiler.converts(from, to)) to else from }
    def first(error: Throwable): Nothing =
      throw mismatch(s"given are ${LoadedModel.columns(offered)}: ${error.getMessage}", error)
    Seq(own, needed, own.map(Compiler.vectors)).distinct.foldLeft[Either[Option[Throwable], Program]](Left(None)) {
      case (Left(before), wanted) =>
        try Right(compile(wanted))
        catch {
          case error: ModelException => throw error
          case NonFatal(error) => Left(before.orElse(Some(error))) // the call as it is written is what to talk about
        }
      case (done, _) => done
    }.fold(error => first(error.get), identity)
  }

  private def mismatch(fact: String, cause: Throwable): ModelException = new ModelException(
    "SCHEMA_MISMATCH",
    s"Cannot call model '$name'",
    fact,
    s"its arguments are ${LoadedModel.columns(inputs)}",
    cause = cause)
}

private object LoadedModel {
  val Kept = 32

  /** Columns as people read them; DDL shows a vector's inside. */
  def columns(of: StructType): String = of.map { field =>
    s"${field.name} ${if (field.dataType == VectorType) "VECTOR" else field.dataType.sql}"
  }.mkString(", ")
}
